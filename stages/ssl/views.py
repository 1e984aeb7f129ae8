"""Augmentation by kornia, of all views of a batch that are made alike in one pass on the device.

Every strength is drawn per sample; the order of the colour jitters is drawn per batch. Crops are
bilinear, where some authors' are bicubic.

Draws come from torch's global generator, which the trainer seeds for every step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import kornia.augmentation as K
import torch
from torch import Tensor, nn

from stages.common.sections import Views
from stages.ssl.crops import RandomResizedCrop
from stages.ssl.preprocessing import Normalize

SIGMA = (0.1, 2.0)  # of the blur, pixels


def runs(views: Sequence[Views]) -> list[tuple[Views, int]]:
    """The views of a row as (how they are made, how many of them are, one after the other)."""
    return [(made, len(list(alike))) for made, alike in groupby(views)]


class RandomViews(nn.Module):
    """One random view of each image, as MoCo-v2's augmentation with the strengths of `params`.

    Args:
        cropped: the images come as random crops of the right size already (from loader workers
            that decoded them), so that only flip, colour and blur remain.
    """

    def __init__(self, params: Views, cropped: bool = False) -> None:
        super().__init__()
        p = params
        self.crop = None if cropped else RandomResizedCrop(p.image_size, p.crop_area, p.crop_ratio)
        steps: list[nn.Module] = []
        if p.flip:
            steps.append(K.RandomHorizontalFlip(p.flip))
        if p.jitter:
            strengths = (p.brightness, p.contrast, p.saturation, p.hue)
            steps.append(K.ColorJitter(*strengths, p=p.jitter))
        if p.grayscale:
            steps.append(K.RandomGrayscale(p=p.grayscale))
        if p.blur:
            kernel = blur_kernel(p.image_size)
            steps.append(K.RandomGaussianBlur((kernel, kernel), SIGMA, p=p.blur))
        if p.solarize:
            steps.append(K.RandomSolarize(thresholds=0.0, additions=0.0, p=p.solarize))  # at 0.5
        self.steps = nn.Sequential(*steps)
        self.normalize = Normalize(p.mean, p.std)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) to normalised float32 (B, 3, S, S)."""
        with torch.autocast(images.device.type, enabled=False):
            images = images.float()
            if self.crop is not None:
                images = self.crop(images)
            return self.normalize(self.steps(images / 255))


def blur_kernel(size: int) -> int:
    """Pixels of the blur's kernel, odd: a tenth of the image as in SimCLR, but never so narrow that
    it cuts off the widest Gaussian within three sigma (nor wider than its reflection allows)."""
    radius = max(size // 20, math.ceil(3 * SIGMA[1]))
    return 2 * min(radius, size - 1) + 1
