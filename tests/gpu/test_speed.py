"""How much of a training is the network's own computation, and how much all that is around it.

Figures alone: what a machine's processors decode is not for a test to demand.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from stages.common import artifacts
from stages.common.images import ImageStore
from stages.common.params import load_all
from stages.common.state import TrainingState
from stages.ssl import inference, pretraining
from stages.ssl.batches import instance_rows
from stages.ssl.methods import Batch
from stages.ssl.optimizer import build_optimizer
from stages.ssl.trainer import lightning_precision
from tests.conftest import write_data, write_params

WARM = 8  # steps that are not timed
KINDS = 64  # images that differ


class Size(NamedTuple):
    preset: str
    method: str
    backbone: str
    batch: int
    steps: int  # that are timed
    edge: tuple[int, int]  # of the images, pixels
    packed: bool = True


SIZES = {
    "resnet18, CIFAR-10": Size("cifar10", "moco", "resnet18", 256, 100, (32, 32)),
    "resnet50, ImageNet from JPEG": Size(
        "imagenet", "moco", "resnet50", 256, 24, (375, 500), packed=False
    ),
}
SMALL = Size("digits", "moco", "resnet10-w16", 16, 4, (8, 8))  # where a CPU is checked


@pytest.fixture(params=SIZES)
def size(request, real) -> Size:
    if real:
        return SIZES[request.param]
    return SMALL._replace(packed=SIZES[request.param].packed)


@pytest.fixture
def settings(size, tmp_path, monkeypatch, accelerate):
    """params.yaml of the size's preset, in a working directory with images of its size."""
    changes = {
        "pretrain.method": size.method,
        "pretrain.backbone": size.backbone,
        "pretrain.batch_size": size.batch,
    }
    write_params(tmp_path / "params.yaml", changes, size.preset)
    write_images(tmp_path, size.batch * (WARM + size.steps), size.edge, size.packed)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / ".state"))
    return load_all(Path("params.yaml"))


def write_images(folder: Path, count: int, edge: tuple[int, int], packed: bool) -> None:
    """Noise, smooth enough for JPEG to be of a photograph's size."""
    write_data(folder, train=count, test=0)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (KINDS, -(-edge[0] // 4), -(-edge[1] // 4), 3), dtype=np.uint8)
    images = [image.repeat(4, 0).repeat(4, 1)[: edge[0], : edge[1]] for image in coarse]
    order = np.arange(count) % KINDS
    if packed:
        np.save(folder / "data/images.npy", np.stack(images)[order])
        return
    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=85)
        files.append(file.getvalue())
    files = [files[kind] for kind in order]
    lengths = np.array([len(file) for file in files])
    manifest = folder / "data/manifest.parquet"
    table = artifacts.read_parquet(manifest, artifacts.MANIFEST, "prepare")
    for name, values in (("offset", lengths.cumsum() - lengths), ("length", lengths)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values))
    artifacts.write_parquet(manifest, table, artifacts.MANIFEST, {"classes": None})
    np.save(folder / "data/images.npy", np.frombuffer(b"".join(files), np.uint8))


def now(on: torch.device) -> float:
    if on.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def whole_seconds(settings, size: Size, on: torch.device, patch: Callable) -> float:
    """Of a step of the training as the stages do it, after the first ones."""
    store = ImageStore(Path("data/manifest.parquet"), Path("data/images.npy"))
    clock: dict[int, float] = {}
    training = settings.pretrain.model_copy(update={"epochs": 1, "of_epochs": None})
    end = pretraining.Pretraining.on_train_batch_end

    def timed(self, *arguments):
        end(self, *arguments)
        if self.global_step in (WARM, WARM + size.steps):
            clock[self.global_step] = now(on)

    patch(pretraining.Pretraining, "on_train_batch_end", timed)
    rows = instance_rows(store.select("train"))
    block = settings.methods[size.method]
    with TrainingState("speed", lambda: "speed") as state:
        pretraining.train(
            "pretrain", training, block, settings.views, rows, store, 0, state, "speed"
        )
        state.clear()
    return (clock[WARM + size.steps] - clock[WARM]) / size.steps


def bare_seconds(settings, size: Size, on: torch.device) -> float:
    """Of the same method's step, gradients and optimiser on views that are there already."""
    training = settings.pretrain
    block = settings.methods[size.method]
    method = pretraining.new_method(training, block, settings.views, 0)
    method = method.to(on, memory_format=torch.channels_last)
    optimizer, _ = build_optimizer(method, size.batch, 1000, 10, 0)
    edge, count = settings.views.image_size, size.batch
    first, second = (
        torch.randn(count, 3, edge, edge, device=on).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    ids = torch.arange(count, device=on)
    batch = Batch(ids, ids, torch.ones(count, device=on))
    half = "bf16" in lightning_precision(training.precision)
    for step in range(WARM + size.steps):
        if step == WARM:
            began = now(on)
        with torch.autocast(on.type, torch.bfloat16, enabled=half):
            loss = method.step(first, second, batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (now(on) - began) / size.steps


def test_a_step_beside_bare_computation(settings, size, on, tell, monkeypatch):
    whole = whole_seconds(settings, size, on, monkeypatch.setattr)
    bare = bare_seconds(settings, size, on)
    tell(
        f"{size.batch / whole:,.0f} images/s, {1000 * whole:.1f} ms a step of {size.batch}; "
        f"bare {1000 * bare:.1f} ms: {whole / bare:.2f}x"
    )


def test_embedding_images(settings, size, on, tell):
    """Images a second of the un-augmented images' features."""
    store = ImageStore(Path("data/manifest.parquet"), Path("data/images.npy"))
    config = inference.EncoderConfig(
        *(size.backbone, settings.pretrain.stem, settings.views.image_size),
        *(settings.views.mean, settings.views.std),
    )
    encoder = inference.Encoder(config)
    ids = store.select("train")
    for _ in range(2):  # the second time, kernels have been chosen
        began = now(on)
        for _ in inference.encode(encoder, store, ids, "backbone", 256, "embed"):
            pass
        took = now(on) - began
    tell(f"{len(ids) / took:,.0f} images/s")
