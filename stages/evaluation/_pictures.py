"""Pictures with boxes as a detector takes them: batches to train on, and the images of a test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor

from stages.common import env
from stages.common.errors import DataError, SeppError
from stages.common.pixels import decode
from stages.evaluation._boxes import Picture
from stages.ssl.batches import CROPS, Batches, step_seed


class PictureBatches(Batches):
    """Batches of images, each mirrored by chance, with their boxes; decoded by loader workers.

    Item (epoch, step) has `images`, uint8 (3, H, W) each of its own size, and `targets`, each with
    `boxes` (B, 4), in pixels, and `labels` (B,), of which 0 is the background.
    """

    def __init__(
        self, pictures: Sequence[Picture], classes: Sequence[str], batch_size: int, seed: int
    ) -> None:
        if batch_size > len(pictures):
            raise SeppError(
                f"evaluations.yaml: detection.batch_size {batch_size} is above the {len(pictures)} "
                "training images with boxes: lower it"
            )
        super().__init__(len(pictures), batch_size, seed)
        self.pictures, self.labels = pictures, labels_of(classes)
        self.workers = env.workers()

    def __getitem__(self, key: tuple[int, int]) -> dict[str, list]:
        rows = self.rows(*key)
        rng = np.random.default_rng(step_seed(self.seed, *key, CROPS, self.rank))
        images, targets = [], []
        for row, flip in zip(rows.tolist(), rng.random(len(rows)) < 0.5, strict=True):
            picture = self.pictures[row]
            image, target = load(picture), target_of(picture, self.labels)
            if flip:
                image, target["boxes"] = mirrored(image, target["boxes"])
            images.append(image)
            targets.append(target)
        return {"images": images, "targets": targets}


class TestPictures(Dataset):
    """The images of a test, uint8 (3, H, W) each of its own size."""

    __test__ = False  # to pytest

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        return load(self.pictures[index])

    def loader(self, batch_size: int) -> DataLoader:
        """Lists of images, in order."""
        return DataLoader(self, batch_size, num_workers=env.workers(), collate_fn=list)


def labels_of(classes: Sequence[str]) -> dict[str, int]:
    """By name, from 1 up."""
    return {name: label for label, name in enumerate(classes, start=1)}


def target_of(picture: Picture, labels: dict[str, int]) -> dict[str, Tensor]:
    """Its boxes (B, 4) and their labels (B,), as torchvision's detectors call them."""
    numbers = torch.tensor([labels[name] for name in picture.names], dtype=torch.int64)
    return {"boxes": torch.from_numpy(picture.boxes), "labels": numbers}


def load(picture: Picture) -> Tensor:
    """uint8 (3, H, W).

    Raises:
        DataError: the image does not decode, or is not of the size that its boxes are for.
    """
    image = decode(picture.file)
    if image.size != (picture.width, picture.height):
        raise DataError(
            f"{picture.file}: has {image.width} x {image.height} pixels, upright as its EXIF says, "
            f"but {picture.annotation} has boxes for {picture.width} x {picture.height}: mend the "
            "one or the other"
        )
    return pil_to_tensor(image)


def mirrored(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The image (3, H, W) from right to left, and its boxes (B, 4) with it."""
    left, top, right, bottom = boxes.unbind(1)
    width = image.shape[2]
    return image.flip(2), torch.stack([width - right, top, width - left, bottom], 1)
