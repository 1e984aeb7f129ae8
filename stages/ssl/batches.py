"""Batches as a function of (seed, epoch, step) alone, so that a resumed run sees the same ones.

Packed images live on the device, and a batch is the ids of its rows; other images are decoded and
cropped by loader workers, one worker a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from stages.common import artifacts, env
from stages.common.errors import SeppError
from stages.common.images import ImageStore
from stages.common.sections import Views
from stages.ssl import distributed
from stages.ssl.views import runs


class Rows(NamedTuple):
    """Training rows, parallel arrays of length N."""

    anchor: np.ndarray  # int64, image id of the first view
    positive: np.ndarray  # int64, image id of the second view
    weight: np.ndarray  # float32
    instances: int  # how many of them are instance rows
    mask_partners: bool = False  # paired images are not to be each other's negatives


def instance_rows(ids: np.ndarray) -> Rows:
    """Every image beside itself: vanilla training."""
    return Rows(ids, ids, np.ones(len(ids), np.float32), len(ids))


def read_rows(path: Path) -> Rows:
    """The combined index of an arm.

    Rows of weight 0 are left out: they add nothing to the loss, and in a batch they would still
    move batch norms and queues. So with sepp.lambda 0 a training is the vanilla one, bit for bit.
    """
    table = artifacts.read_parquet(path, artifacts.COMBINED, "combine")
    kinds = np.asarray(table["kind"].to_pylist(), dtype=object)
    columns = [table[name].to_numpy() for name in ("anchor", "positive", "weight")]
    kept = columns[2] > 0
    return Rows(
        *(c[kept] for c in columns),
        instances=int((kinds == "instance").sum()),
        mask_partners=bool(artifacts.metadata(table).get("mask_partners")),
    )


# What draws random numbers in a step. The method draws alike on every process, the others not.
VIEWS, METHOD, CROPS = 0, 1, 2


def step_seed(*parts: int) -> int:
    """A well-mixed 63-bit seed from (seed, epoch, step, part, rank) or the first of these."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_draws(seed: int) -> None:
    """As torch.manual_seed, but only of what is in use: for each kind of device that is not, that
    formats a stack, which takes longer than a small training step."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


class Steps(Sampler[tuple[int, int]]):
    """Names the batches of the current epoch: (epoch, step). Lightning calls `set_epoch`.

    Args:
        first: epochs that were trained before, in another run, whose numbers go on here.
    """

    def __init__(self, steps: int, first: int = 0) -> None:
        self.steps, self.first = steps, first
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.first + self.epoch, step) for step in range(self.steps))


class Batches(Dataset):
    """Item (epoch, step) is this process's share of that step's rows, from a seeded shuffle.

    The rows that do not fill a last batch are left out; which ones changes with the epoch.

    Args:
        total: number of rows.
        batch_size: rows per step over all processes.
        seed: of the shuffle.
    """

    def __init__(self, total: int, batch_size: int, seed: int) -> None:
        self.total, self.batch_size, self.seed = total, batch_size, seed
        self.rank, self.world = 0, 1
        self._shuffled: tuple[int, np.ndarray] | None = None  # epoch, its order

    def __len__(self) -> int:
        return self.total // self.batch_size

    def _order(self, epoch: int) -> np.ndarray:  # (total,)
        if self._shuffled is None or self._shuffled[0] != epoch:
            rng = np.random.default_rng(step_seed(self.seed, epoch))
            self._shuffled = epoch, rng.permutation(self.total)
        return self._shuffled[1]

    def rows(self, epoch: int, step: int) -> np.ndarray:
        """Row numbers (B / world,) of this process."""
        start = step * self.batch_size
        batch = self._order(epoch)[start : start + self.batch_size]
        return np.split(batch, self.world)[self.rank]

    first_epoch = 0  # where another training has come to that this one continues
    workers = 0  # processes that make the batches
    ahead = 2  # batches that each of them has ready

    def loader(self) -> DataLoader:
        """To be called in each process of a distributed run, once it knows its rank."""
        # Noted here, because loader workers do not belong to the process group.
        self.rank, self.world = distributed.rank(), distributed.world_size()
        if self.batch_size % self.world:
            raise SeppError(
                f"batch_size {self.batch_size} does not split over {self.world} processes: "
                "choose a multiple"
            )
        return DataLoader(
            self,
            batch_size=None,  # an item is a batch already
            sampler=Steps(len(self), self.first_epoch),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            prefetch_factor=self.ahead if self.workers else None,
            pin_memory=env.on_gpu(torch.cuda.is_available()),
        )


class PairBatches(Batches):
    """Batches of training rows: ids and weights, and for streamed images also their crops.

    Args:
        views: how each view of a row is made: of the anchor and the positive in turn.
        section: of params.yaml that `batch_size` is from, for messages.
    """

    def __init__(
        self,
        rows: Rows,
        store: ImageStore,
        views: Sequence[Views],
        batch_size: int,
        seed: int,
        section: str,
    ) -> None:
        if batch_size > len(rows.anchor):
            raise SeppError(
                f"params.yaml: {section}.batch_size {batch_size} is above the "
                f"{len(rows.anchor)} training rows: lower it"
            )
        super().__init__(len(rows.anchor), batch_size, seed)
        self.pairs, self.store = rows, store
        self.runs = runs(views)  # how views are made, and how many of a row in turn
        self.streamed = store.packed is None
        self.workers = env.workers() if self.streamed else 0
        self.crops = [random_crop(view) for view in views]
        self.ahead = 1 if len(views) > 2 else 2  # ten views of ImageNet's: 400 MB a batch of 256

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        chosen = self.rows(*key)
        anchor, positive = self.pairs.anchor[chosen], self.pairs.positive[chosen]
        batch = {"anchor": anchor, "positive": positive, "weight": self.pairs.weight[chosen]}
        batch = {name: torch.from_numpy(values) for name, values in batch.items()}
        if self.streamed:
            seed_draws(step_seed(self.seed, *key, CROPS, self.rank))
            batch["crops"] = self._crops(anchor, positive)
        return batch

    def _crops(self, anchor: np.ndarray, positive: np.ndarray) -> list[Tensor]:
        """uint8 (count * B, 3, S, S) for each run of views, the views one after the other."""
        views: list[list[Tensor]] = [[] for _ in self.crops]
        for i, j in zip(anchor.tolist(), positive.tolist(), strict=True):
            image = pil_to_tensor(self.store.read(i))
            # An instance row's image is decoded once, and what no view shows is not.
            alone = i == j or len(views) == 1
            other = image if alone else pil_to_tensor(self.store.read(j))
            for view, crop, source in zip(views, self.crops, cycle((image, other)), strict=False):
                view.append(crop(source))
        turns = iter(views)
        return [torch.stack(list(chain(*islice(turns, count)))) for _, count in self.runs]

    def images_on(self, device: torch.device) -> Tensor | None:
        """All packed images as uint8 (N, 3, H, W) on `device`; None if they are streamed."""
        if self.streamed:
            return None
        return torch.from_numpy(self.store.packed.copy()).to(device).permute(0, 3, 1, 2)


def random_crop(views: Views) -> v2.Transform:
    """uint8 (3, H, W) to a random resized crop (3, S, S)."""
    size = (views.image_size, views.image_size)
    return v2.RandomResizedCrop(size, views.crop_area, views.crop_ratio, antialias=True)
