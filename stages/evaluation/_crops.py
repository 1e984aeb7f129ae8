"""Random crops and flips of labelled images: what classifiers are trained on, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.common.images import ImageStore
from stages.common.sections import Views
from stages.evaluation._steps import capped
from stages.ssl.batches import VIEWS, PairBatches, instance_rows
from stages.ssl.encoder import Encoder
from stages.ssl.trainer import Fit
from stages.ssl.views import RandomViews


def crops(encoder: Encoder) -> Views:
    """The evaluation's augmentation: random resized crop and flip alone."""
    config = encoder.config
    return Views(
        image_size=config.image_size,
        mean=config.mean,
        std=config.std,
        crop_area=(0.08, 1.0),
        crop_ratio=(3 / 4, 4 / 3),
        flip=0.5,
        jitter=0.0,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=0.0,
        grayscale=0.0,
        blur=0.0,
        solarize=0.0,
    )


class LabelledCrops:
    """The images `ids` (N,) of `store`, all with labels, for an encoder of this kind.

    Attributes:
        batches: which of them a step has; `capped` where they are fewer than `batch_size`.
    """

    def __init__(
        self,
        encoder: Encoder,
        store: ImageStore,
        ids: np.ndarray,
        batch_size: int,
        seed: int,
        section: str,
    ) -> None:
        made, size = crops(encoder), capped(batch_size, len(ids))
        self.batches = PairBatches(instance_rows(ids), store, [made], size, seed, section)
        self.views = RandomViews(made, cropped=self.batches.streamed)
        self.labels = torch.from_numpy(store.labels.astype(np.int64))  # (images in the manifest,)
        self.images: Tensor | None = None  # on the device, unless streamed

    def to(self, device: torch.device) -> None:
        self.views.to(device)
        self.labels = self.labels.to(device)
        self.images = self.batches.images_on(device)

    def draw(self, fit: Fit, batch: dict[str, Any], index: int) -> tuple[Tensor, Tensor]:
        """Normalised crops (B, 3, S, S) and labels (B,) of a step of `fit`."""
        ids = batch["anchor"]
        fit.reseed(index, VIEWS, fit.global_rank)
        images = batch["crops"][0] if self.images is None else self.images[ids]
        return self.views(images), self.labels[ids]
