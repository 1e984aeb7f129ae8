"""What training costs on this machine: some steps of each part, by the code that trains."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from stages.common import artifacts
from stages.common.images import ImageStore
from stages.common.params import AllParams
from stages.evaluation._linear import FeatureBatches, Probe
from stages.recipe.images import Images
from stages.recipe.machine import Machine
from stages.recipe.plan import Costs, Setting
from stages.ssl.batches import PairBatches, instance_rows
from stages.ssl.course import Course
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.inference import encode
from stages.ssl.methods import Method
from stages.ssl.pretraining import Pretraining, new_method
from stages.ssl.trainer import fit

DVC = 4  # its share of a stage, for digests and a long dvc.lock, in starts of one without torch
WIDE = 128  # dimensions of an embedding
KEPT = 64  # images that are timed with
PATIENCE = 4.0  # seconds after which a part has been timed for long enough
MOST, FEWEST = 60, 3  # steps of it


@dataclass(frozen=True)
class Nowhere:
    """In the place of a training's state, for a training that is not to be kept."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.ckpt"


class Timed:
    """Beside a `Fit`: notes when each step ends, and ends after PATIENCE."""

    def on_train_batch_end(self, *arguments: Any) -> None:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        ends = self.ends = [*getattr(self, "ends", ()), time.perf_counter()]
        if len(ends) >= FEWEST and ends[-1] - ends[0] > PATIENCE:
            self.steps = len(ends)
        super().on_train_batch_end(*arguments)

    @property
    def seconds(self) -> float:
        """A step, without the first ones."""
        first = len(self.ends) // 4
        return (self.ends[-1] - self.ends[first]) / (len(self.ends) - 1 - first)


class TimedPretraining(Timed, Pretraining):
    pass


class TimedProbe(Timed, Probe):
    pass


class Meter:
    """Costs of settings; what all of them share is timed once."""

    @cached_property
    def starts(self) -> tuple[float, float]:
        """Seconds in which a stage starts and ends, without torch and with it, under DVC."""
        light = _start("import stages.combine")
        heavy = _start("import stages.pretrain, stages.ssl.preflight, kornia.augmentation")
        return light + DVC * light, heavy + DVC * light

    @cached_property
    def comparison(self) -> float:
        """Seconds for one similarity, where many are worked out together."""
        rng = np.random.default_rng(0)
        some, others = (rng.random((count, WIDE), dtype=np.float32) for count in (1024, 8192))
        _ = some @ others.T  # the first product starts the threads
        began = time.perf_counter()
        for _ in range(3):
            _ = some @ others.T
        return (time.perf_counter() - began) / (3 * len(some) * len(others))

    def costs(self, params: AllParams, setting: Setting, images: Images, machine: Machine) -> Costs:
        """Of training as `params` say, which are the setting's."""
        with tempfile.TemporaryDirectory() as folder, _one_device():
            state = Nowhere(Path(folder))
            store = _store(state.folder, setting.stored)
            block = dict(params.methods[setting.method])
            if "bn_splits" in block:  # of all devices together
                block["bn_splits"] = max(1, block["bn_splits"] // machine.devices)
            method = new_method(params.pretrain, block, params.views, params.seed)
            encoder = _encoder(params, method)
            rows = setting.batch // machine.devices
            return Costs(
                *self.starts,
                step=_step(params, method, store, rows, images, state),
                embed=_embed(encoder, store),
                probe=_probe(params, encoder.feature_dim, images, state),
                compare=self.comparison,
            )


@contextmanager
def _one_device() -> Iterator[None]:
    """More would start this very command once more for each."""
    before = {name: os.environ.get(name) for name in ("SEPP_DEVICES", "SEPP_NODES")}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _store(folder: Path, edge: int) -> ImageStore:
    """Noise, which costs what photographs cost."""
    columns = {
        "id": np.arange(KEPT),
        "split": ["train"] * KEPT,
        "label": np.full(KEPT, -1, np.int32),
        "path": pa.nulls(KEPT, pa.string()),
        "offset": np.full(KEPT, -1),
        "length": np.full(KEPT, -1),
        "digest": pa.nulls(KEPT, pa.string()),
    }
    manifest, pixels = folder / "manifest.parquet", folder / "images.npy"
    table = pa.table(columns, schema=artifacts.MANIFEST)
    artifacts.write_parquet(manifest, table, artifacts.MANIFEST, {"name": "noise"})
    rng = np.random.default_rng(0)
    np.save(pixels, rng.integers(0, 256, (KEPT, edge, edge, 3), dtype=np.uint8))
    return ImageStore(manifest, pixels)


def _encoder(params: AllParams, method: Method) -> Encoder:
    views, training = params.views, params.pretrain
    head = method.projection_spec()
    config = EncoderConfig(
        training.backbone, training.stem, views.image_size, views.mean, views.std, head
    )
    return Encoder(config)


def _start(imports: str) -> float:
    """Seconds in which a process has imported what a stage needs, and ended."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", imports], check=True, capture_output=True)
    return time.perf_counter() - began


def _step(
    params: AllParams,
    method: Method,
    store: ImageStore,
    batch: int,
    images: Images,
    state: Nowhere,
) -> float:
    """Seconds of an optimiser step, with its share of what an epoch costs beside its steps."""
    rows = instance_rows(np.arange(min(images.train, MOST * batch)) % KEPT)
    views = method.row_views(params.views)
    batches = PairBatches(rows, store, views, batch, params.seed, "pretrain")
    module = TimedPretraining(method, batches, Course(MOST, MOST, MOST))
    size = f"{params.views.image_size} px"
    fit(module, state, f"time {params.pretrain.backbone} at {size}", params.pretrain.precision)
    return module.seconds


def _embed(encoder: Encoder, store: ImageStore) -> float:
    """Seconds an image."""
    ids, size = np.arange(4 * KEPT) % KEPT, KEPT // 2
    ends = [
        time.perf_counter() for _ in encode(encoder, store, ids, "projection", size, "time embed")
    ]
    return (ends[-1] - ends[0]) / (len(ids) - size)


def _probe(params: AllParams, dim: int, images: Images, state: Nowhere) -> float:
    """Seconds of an epoch of the linear classifier."""
    settings = params.linear_eval
    count = min(max(images.labelled, settings.batch_size), MOST * settings.batch_size)
    rng = torch.Generator().manual_seed(0)
    features = torch.rand(count, dim, generator=rng)
    labels = torch.arange(count) % max(2, images.classes)
    batches = FeatureBatches(features, labels, settings.batch_size, params.seed)
    probe = TimedProbe(dim, max(2, images.classes), settings, batches)
    probe.steps = MOST
    fit(probe, state, "time linear classifier")
    return probe.seconds * max(1, images.labelled // settings.batch_size)
