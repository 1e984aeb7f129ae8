"""Random resized crops of a whole batch on its device, antialiased as torchvision's are.

A crop and its resize are linear along each edge, so each sample has two small matrices, and the
batch is two batched matrix products.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

TRIES = 10  # torchvision's; then a crop in the centre


class Boxes(NamedTuple):
    """Crops of a batch in whole pixels, each (B,) int64."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class RandomResizedCrop(nn.Module):
    """Crops of a random area and ratio, resized to a square.

    Args:
        size: pixels, edge of what comes out.
        area: share of the image, uniform between the two.
        ratio: width / height, log-uniform between the two.
    """

    def __init__(self, size: int, area: tuple[float, float], ratio: tuple[float, float]) -> None:
        super().__init__()
        self.size, self.area, self.ratio = size, area, ratio

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, 3, S, S)
        boxes = draw_boxes(len(images), *images.shape[2:], self.area, self.ratio, images.device)
        return resized_crops(images, boxes, self.size)


def draw_boxes(
    count: int,
    height: int,
    width: int,
    area: tuple[float, float],
    ratio: tuple[float, float],
    device: torch.device,
) -> Boxes:
    """Boxes by the rule of torchvision's RandomResizedCrop: the first of ten draws that fits.

    Draws come from torch's global generator.
    """
    areas = torch.empty(count, TRIES, device=device).uniform_(*area) * height * width
    bounds = math.log(ratio[0]), math.log(ratio[1])
    ratios = torch.empty(count, TRIES, device=device).uniform_(*bounds).exp()
    widths, heights = (areas * ratios).sqrt().round(), (areas / ratios).sqrt().round()
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    first = fits.int().argmax(1, keepdim=True)  # the first that fits
    found = fits.any(1)
    w, h = (
        torch.where(found, sizes.gather(1, first)[:, 0], whole)
        for sizes, whole in zip((widths, heights), _central(height, width, ratio), strict=True)
    )
    place = torch.rand(2, count, device=device)
    top = torch.where(found, (place[0] * (height - h + 1)).floor(), ((height - h) / 2).floor())
    left = torch.where(found, (place[1] * (width - w + 1)).floor(), ((width - w) / 2).floor())
    return Boxes(*(edge.long() for edge in (top, left, h, w)))


def _central(height: int, width: int, ratio: tuple[float, float]) -> tuple[float, float]:
    """Width and height of the largest crop of a ratio that is as near the image's as allowed."""
    wanted = min(max(width / height, ratio[0]), ratio[1])
    return min(width, round(height * wanted)), min(height, round(width / wanted))


def resized_crops(images: Tensor, boxes: Boxes, size: int) -> Tensor:
    """Each image's crop, resized to (size, size): (B, C, H, W) float to (B, C, size, size).

    As torchvision's `resized_crop(…, antialias=True)`.
    """
    count, channels, height, width = images.shape
    rows = resampling(boxes.top, boxes.height, height, size)  # (B, S, H)
    columns = resampling(boxes.left, boxes.width, width, size)  # (B, S, W)
    # Packed images lie with their channels last, so that this is one product without a copy.
    fewer = rows @ images.permute(0, 2, 3, 1).flatten(2)  # (B, S, W * C)
    fewer = fewer.view(count, size, width, channels).permute(0, 3, 1, 2).flatten(1, 2)
    return (fewer @ columns.mT).view(count, channels, size, size)


def resampling(start: Tensor, length: Tensor, whole: int, size: int) -> Tensor:
    """Weights with which pixels of a crop make those of its resize, along one edge.

    A triangle as wide as two output pixels, but no narrower than two input pixels, at the centre
    of each output pixel, cut off at the crop's ends, with a sum of 1: PIL's bilinear filter.

    Args:
        start, length: (B,) of the crops, pixels.
        whole: pixels of the image's edge.
        size: pixels of the result's edge.

    Returns:
        (B, size, whole)
    """
    start, length = start[:, None, None].float(), length[:, None, None].float()
    scale = length / size  # input pixels for each output pixel
    pixel = torch.arange(whole, device=start.device) + 0.5 - start  # (B, 1, whole), in the crop
    centre = scale * (torch.arange(size, device=start.device)[:, None] + 0.5)  # (B, size, 1)
    weight = (1 - (pixel - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    weight = weight * ((pixel > 0) & (pixel < length))
    return weight / weight.sum(2, keepdim=True)
