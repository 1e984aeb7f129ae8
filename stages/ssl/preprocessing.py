"""How an image becomes what an encoder takes, without augmentation: in training's evaluations, for
whoever uses the encoder, and in the words of other libraries to which it is exported."""

from __future__ import annotations

from PIL import Image
from torch import Tensor, nn, tensor
from torchvision.transforms.v2 import functional


def shorter_edge(size: int) -> int:
    """Pixels to which the shorter edge is resized before the centre of S x S is cropped."""
    return round(size * 256 / 224)


def central(pixels: Tensor, size: int) -> Tensor:
    """uint8 (3, H, W) to (3, S, S).

    An image that already has S x S pixels is left alone. Any other is resized, its shorter edge to
    S * 256 / 224, and its centre cropped: the usual protocol of ImageNet.
    """
    if pixels.shape[1:] == (size, size):
        return pixels
    resized = functional.resize(pixels, [shorter_edge(size)], antialias=True)  # bilinear
    return functional.center_crop(resized, [size])


def fitted(image: Image.Image, size: int) -> Tensor:
    """uint8 (3, S, S) of an image in RGB."""
    return central(functional.pil_to_tensor(image), size)


class Normalize(nn.Module):
    """Pixels to zero mean and unit deviation per channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W), in [0, 1]
        return (images - self.mean) / self.std
