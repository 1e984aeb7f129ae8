"""Augmentation by kornia: all views of a batch in one pass on the device.

Every strength is drawn per sample; the order of the colour jitters is drawn per batch.

Draws come from torch's global generator, which the trainer seeds for every step.
"""

from __future__ import annotations

from typing import NamedTuple

import kornia.augmentation as K
import torch
from torch import Tensor, nn

from stages.common.params import Views


class ExtraViews(NamedTuple):
    """Views of every row beside its two: of the anchor and of the positive in turn."""

    count: int
    size: int | None = None  # pixels, edge; None: as the two
    crop_area: tuple[float, float] | None = None  # share of the image; None: as the two

    def params(self, views: Views) -> Views:
        """The augmentation of the two, with this size and area."""
        changed = {"image_size": self.size, "crop_area": self.crop_area}
        return views.model_copy(update={k: v for k, v in changed.items() if v is not None})


class RandomViews(nn.Module):
    """One random view of each image, as MoCo-v2's augmentation with the strengths of `params`.

    Args:
        cropped: the images come as random crops of the right size already (from loader workers
            that decoded them), so that only flip, colour and blur remain.
    """

    def __init__(self, params: Views, cropped: bool = False) -> None:
        super().__init__()
        p = params
        size = p.image_size
        steps: list[nn.Module] = []
        if not cropped:
            crop = K.RandomResizedCrop(
                (size, size), p.crop_area, p.crop_ratio, cropping_mode="resample"
            )
            steps.append(crop)
        if p.flip:
            steps.append(K.RandomHorizontalFlip(p.flip))
        if p.jitter:
            strengths = (p.brightness, p.contrast, p.saturation, p.hue)
            steps.append(K.ColorJitter(*strengths, p=p.jitter))
        if p.grayscale:
            steps.append(K.RandomGrayscale(p=p.grayscale))
        if p.blur:
            kernel = max(3, size // 10 // 2 * 2 + 1)  # a tenth of the image, odd
            steps.append(K.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=p.blur))
        self.steps = nn.Sequential(*steps)
        self.normalize = Normalize(p.mean, p.std)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) to normalised float32 (B, 3, S, S)."""
        with torch.autocast(images.device.type, enabled=False):
            return self.normalize(self.steps(images.float() / 255))


class Normalize(nn.Module):
    """Pixels to zero mean and unit deviation per channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W), in [0, 1]
        return (images - self.mean) / self.std
