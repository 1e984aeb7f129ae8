"""What training costs on this machine: some steps of each part, by the code that trains."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from stages.common import artifacts
from stages.common.all_params import AllParams
from stages.common.images import ImageStore
from stages.evaluation._linear import FeatureBatches
from stages.recipe.clock import Clock, Stopwatch
from stages.recipe.images import Images
from stages.recipe.machine import Machine
from stages.recipe.plan import Costs, Setting
from stages.recipe.timed import Nowhere, TimedPretraining, TimedProbe
from stages.ssl.batches import PairBatches, instance_rows
from stages.ssl.course import Course
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.inference import encode
from stages.ssl.methods import Method
from stages.ssl.pretraining import new_method
from stages.ssl.trainer import fit

log = logging.getLogger(__name__)
DVC = 4  # its share of a stage, for digests and a long dvc.lock, in starts of one without torch
WIDE = 128  # dimensions of an embedding
KEPT = 64  # images that are timed with
MOST = 60  # steps that are timed
LARGER = 20  # steps of a network, in whose time a few of the next larger one are timed


class Meter:
    """Costs of settings; what all of them share is timed once.

    Args:
        clock: how long all of it may take. Each thing is done once in any case.
        loading: seconds that this process took to load torch, which are taken where another one
            would have no time to do so.
    """

    def __init__(self, clock: Clock, loading: float = 0.0) -> None:
        self.clock, self.loading = clock, loading
        self.largest = 0.0  # seconds of a step of the last network that was timed

    @property
    def has_time(self) -> bool:
        """Whether there is time for the next larger network."""
        return self.clock.left >= LARGER * self.largest

    @cached_property
    def starts(self) -> tuple[float, float]:
        """Seconds in which a stage starts and ends, without torch and with it, under DVC."""
        light, _ = _start("import stages.combine", self.clock.left / 4)
        log.info("timed the start of a stage: %.3g s", light)
        heavy = self._heavy_start(self.clock.left / 2)
        return light + DVC * light, heavy + DVC * light

    def _heavy_start(self, limit: float) -> float:
        if self.loading >= limit:  # another process would hardly be faster
            log.info("a stage with torch starts as this command did: %.3g s", self.loading)
            return self.loading
        imports = "import stages.pretrain, stages.ssl.preflight, kornia.augmentation"
        heavy, ended = _start(imports, limit)
        least = "" if ended else " or more"
        log.info("timed the start of a stage with torch: %.3g s%s", heavy, least)
        return heavy

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
        starts, comparison, clock = self.starts, self.comparison, self.clock
        # Their own progress would stop part-way; what was timed is logged.
        silent = redirect_stderr(io.StringIO())
        with tempfile.TemporaryDirectory() as folder, _one_device(), silent:
            state = Nowhere(Path(folder))
            store = _store(state.folder, setting.stored)
            block = dict(params.methods[setting.method])
            if "bn_splits" in block:  # of all devices together
                block["bn_splits"] = max(1, block["bn_splits"] // machine.devices)
            method = new_method(params.pretrain, block, params.views, params.seed)
            encoder = _encoder(params, method)
            rows = setting.batch // machine.devices
            step = _step(params, method, store, rows, images, state, clock.until(1 / 2))
            embed = _embed(encoder, store, clock.until(1 / 2))
            probe = _probe(params, encoder.feature_dim, images, state, clock.until(1))
        self.largest = step
        return Costs(*starts, step=step, embed=embed, probe=probe, compare=comparison)


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


def _start(imports: str, limit: float) -> tuple[float, bool]:
    """Seconds in which a process has imported what a stage needs, and ended; and whether it has,
    or was ended after `limit` seconds."""
    began, ended = time.perf_counter(), True
    try:
        command = [sys.executable, "-c", imports]
        subprocess.run(command, check=True, capture_output=True, timeout=limit)
    except subprocess.TimeoutExpired:
        ended = False
    return time.perf_counter() - began, ended


def _step(
    params: AllParams,
    method: Method,
    store: ImageStore,
    batch: int,
    images: Images,
    state: Nowhere,
    until: float,
) -> float:
    """Seconds of an optimiser step, with its share of what an epoch costs beside its steps."""
    rows = instance_rows(np.arange(min(images.train, MOST * batch)) % KEPT)
    views = method.row_views(params.views)
    batches = PairBatches(rows, store, views, batch, params.seed, "pretrain")
    module = TimedPretraining(until, method, batches, Course(MOST, MOST, MOST))
    label = f"{params.pretrain.backbone} at {params.views.image_size} px"
    fit(module, state, label, params.pretrain.precision)
    log.info("timed a step of %s: %s", label, module.watch)
    return module.watch.seconds


def _embed(encoder: Encoder, store: ImageStore, until: float) -> float:
    """Seconds an image."""
    ids, size = np.arange(4 * KEPT) % KEPT, KEPT // 2
    watch = Stopwatch(until)
    for _ in encode(encoder, store, ids, "projection", size, "embed"):
        if watch.lap():
            break
    log.info("timed embedding %s images: %s", size, watch)
    return watch.seconds / size


def _probe(params: AllParams, dim: int, images: Images, state: Nowhere, until: float) -> float:
    """Seconds of an epoch of the linear classifier."""
    settings = params.linear_eval
    count = min(max(images.labelled, settings.batch_size), MOST * settings.batch_size)
    rng = torch.Generator().manual_seed(0)
    features = torch.rand(count, dim, generator=rng)
    labels = torch.arange(count) % max(2, images.classes)
    batches = FeatureBatches(features, labels, settings.batch_size, params.seed)
    probe = TimedProbe(until, dim, max(2, images.classes), settings, batches)
    probe.steps = MOST
    fit(probe, state, "linear classifier")
    log.info("timed a step of the linear classifier: %s", probe.watch)
    return probe.watch.seconds * max(1, images.labelled // settings.batch_size)
