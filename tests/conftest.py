"""Fixtures: params files with changed leaves, and a tiny packed data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from ruamel.yaml import YAML

from stages.common import artifacts, weights
from stages.common.all_params import AllParams
from stages.common.param_file import EVALUATIONS, METHODS, validate
from stages.common.plugins import plugins
from stages.recipe.files import files
from stages.recipe.text import preset as preset_text
from stages.recipe.text import values_of

if TYPE_CHECKING:
    from stages.ssl.encoder import Encoder
    from tests.datasets.bench import Bench

# Networks this small run fastest on one thread; set before torch loads, for subprocesses too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
YAML_SAFE = YAML(typ="safe")

# A pipeline of seconds: what the tests of whole stages run on.
TINY = {
    "sampler.backbone": "resnet10-w8",
    "pretrain.backbone": "resnet10-w8",
    "sampler.epochs": 3,
    "sampler.batch_size": 16,
    "pretrain.epochs": 3,
    "pretrain.batch_size": 16,
    "methods.moco.queue": 64,
    "methods.moco.hidden_dim": 16,
    "methods.moco.output_dim": 8,
    "linear_eval.epochs": 5,
    "linear_eval.milestones": [3, 4],
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that the processes of `make test` end at about the same time."""
    items.sort(key=lambda item: "slow" not in item.keywords)


def write_params(path: Path, changes: dict[str, Any], preset: str = "digits") -> Path:
    """The preset with the leaves in `changes` set; a value of ... removes the leaf. Beside `path`
    are the blocks of methods, and of evaluations."""
    values = values_of(preset_text(preset))
    for key, value in changes.items():
        *sections, leaf = key.split(".")
        inner = values
        for section in sections:
            inner = inner[section]
        if value is ...:
            del inner[leaf]
        else:
            inner[leaf] = value
    evaluations = {name: values.pop(name) for name in plugins("evaluation") if name in values}
    for file, part in {
        path.with_name(METHODS): values.pop("methods", {}),
        path.with_name(EVALUATIONS): evaluations,
        path: values,
    }.items():
        with file.open("w") as stream:
            YAML_SAFE.dump(part, stream)
    return path


def write_recipe(folder: Path, recipe: str) -> Path:
    """The files of a whole recipe; params.yaml."""
    for name, text in files(recipe).items():
        (folder / name).write_text(text)
    return folder / "params.yaml"


def load_preset(name: str) -> AllParams:
    return validate(Path(f"{name}.yaml"), AllParams, values_of(preset_text(name)))


def write_data(folder: Path, train: int = 48, test: int = 24, classes: int = 3) -> None:
    """A manifest and packed 8x8 images: blobs whose place and colour is their class, and noise."""
    rng = np.random.default_rng(0)
    total = train + test
    labels = np.arange(total) % classes
    images = rng.integers(0, 60, (total, 8, 8, 3), dtype=np.uint8)
    for i, label in enumerate(labels):
        images[i, label * 2 : label * 2 + 3, 1:6, label % 3] += 150
    table = pa.table(
        {
            "id": np.arange(total),
            "split": ["train"] * train + ["test"] * test,
            "label": labels.astype(np.int32),
            "path": pa.nulls(total, pa.string()),
            "offset": np.full(total, -1),
            "length": np.full(total, -1),
            "digest": pa.nulls(total, pa.string()),
        },
        schema=artifacts.MANIFEST,
    )
    about = {"name": "made", "classes": None}
    artifacts.write_parquet(folder / "data/manifest.parquet", table, artifacts.MANIFEST, about)
    np.save(folder / "data/images.npy", images)
    for section in ("sampler", "pretrain"):  # as committed
        artifacts.write_json(folder / f"data/weights/{section}.json", weights.NONE)


def write_folder_data(folder: Path) -> None:
    """The same images as PNG files in a folder, streamed instead of packed."""
    write_data(folder)
    pixels = np.load(folder / "data/images.npy")
    manifest = folder / "data/manifest.parquet"
    table = artifacts.read_parquet(manifest, artifacts.MANIFEST, "prepare")
    names = [f"{i}.png" for i in range(len(pixels))]
    (folder / "raw").mkdir()
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(folder / "raw" / name)
    table = table.set_column(table.schema.get_field_index("path"), "path", pa.array(names))
    artifacts.write_parquet(manifest, table, artifacts.MANIFEST, {"classes": None})
    np.save(folder / "data/images.npy", np.zeros(0, np.uint8))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with params.yaml, tiny prepared data, and a state folder of its own."""
    write_params(tmp_path / "params.yaml", TINY)
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / ".state"))
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    return tmp_path


@pytest.fixture
def encoder(project: Path) -> Encoder:
    """An untrained encoder, as a training of the arm vanilla would leave it behind."""
    import torch

    from stages.ssl.encoder import Encoder, EncoderConfig

    torch.manual_seed(0)
    training = {"epochs": 3, "rows": 48, "steps": 9}
    config = EncoderConfig("resnet10", "cifar", 8, (0.3,) * 3, (0.3,) * 3, training=training)
    encoder = Encoder(config)
    encoder.save(project / "models/vanilla-0")
    return encoder.eval()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A data root without images, and a working directory in which prepare runs."""
    from tests.datasets.bench import Bench

    made = Bench(tmp_path)
    monkeypatch.setenv("SEPP_DATA_ROOT", str(made.root))
    return made
