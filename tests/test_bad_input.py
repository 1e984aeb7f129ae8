"""Every mistake that a user is likely to make, through the real command: one line, exit code 1."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from stages import checkpoint
from stages.common import artifacts, weights
from stages.common.given import Given
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.heads import mlp
from tests.conftest import TINY, write_params

HEAD = mlp(512, 16, 8, norm=None)
ARM = ("--arm", "vanilla", "--seed", "0")


@dataclass
class Mistake:
    stage: str
    changes: dict[str, Any]  # of params.yaml
    said: list[str]  # in the error's line, in this order: file or key, value, remedy
    prepare: Callable[[Path], None] = lambda folder: None
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def sampler(value: float | None = None, head: list | None = HEAD) -> Callable[[Path], None]:
    """Writes models/sampler with all its weights set to `value`."""

    def write(folder: Path) -> None:
        encoder = Encoder(EncoderConfig("resnet10", "cifar", 8, (0.5,) * 3, (0.25,) * 3, head))
        with torch.no_grad():
            for weight in encoder.parameters() if value is not None else ():
                weight.fill_(value)
        encoder.save(folder / "models/sampler")

    return write


def spoiled_sampler(folder: Path) -> None:
    sampler()(folder)
    file = folder / "models/sampler/model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def foreign_weights(folder: Path) -> None:
    save_file({"layer9.weight": torch.zeros(1)}, folder / "w.safetensors")
    for section in checkpoint.SECTIONS:
        record = folder / checkpoint.Outputs.of(section).record
        artifacts.write_json(record, weights.describe(Given(section, "w.safetensors")))


def other_folder(folder: Path) -> None:
    """As transformers writes it."""
    made = folder / "vit"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "vit", "hidden_size": 192}')
    save_file({"layer9.weight": torch.zeros(1)}, made / "model.safetensors")
    record = folder / checkpoint.Outputs.of("sampler").record
    artifacts.write_json(record, weights.describe(Given("sampler.checkpoint", "vit")))


def given(name: str, leaf: str = "sampler.checkpoint") -> dict[str, Any]:
    """Changes of params.yaml: weights in a file or folder."""
    return {leaf: name, "watch": [leaf.partition(".")[0]]}


def record_of(name: str) -> Callable[[Path], None]:
    record = checkpoint.Outputs.of("sampler").record
    return lambda folder: artifacts.write_json(folder / record, {"name": name})


def embeddings(value: float) -> Callable[[Path], None]:
    """Writes data/embeddings.parquet, a third of it good, with `value` in image 2."""

    def write(folder: Path) -> None:
        x = np.eye(6, 4, dtype=np.float32) + 0.5
        x[2] = value
        schema = artifacts.embeddings_schema(4)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 4)
        table = pa.table([pa.array(np.arange(6)), lists.cast(schema.field(1).type)], schema=schema)
        artifacts.write_parquet(folder / "data/embeddings.parquet", table, schema)

    return write


def in_the_way(name: str, folder: bool = False) -> Callable[[Path], None]:
    """Embeddings of six images, and a file or folder called `name`."""

    def write(project: Path) -> None:
        embeddings(1.0)(project)
        (project / name).mkdir() if folder else (project / name).touch()

    return write


def without_manifest(folder: Path) -> None:
    (folder / "data/manifest.parquet").unlink()


def garbled_manifest(folder: Path) -> None:
    (folder / "data/manifest.parquet").write_text("<<<<<<< HEAD")


def without_images(folder: Path) -> None:
    (folder / "data/images.npy").unlink()


def rows(folder: Path) -> None:
    """data/combined/vanilla-0.parquet."""
    main = importlib.import_module("stages.combine").main
    assert CliRunner().invoke(main, ARM).exit_code == 0


PARAMS = "params.yaml: "
METHODS = "methods.yaml: "
MISTAKES = {
    "min above max": Mistake(
        "mine",
        {"sepp.min": 0.99, "sepp.max": 0.97},
        [PARAMS, "sepp: min 0.99 is above max 0.97", "lower min"],
    ),
    "threshold outside": Mistake(
        "mine", {"sepp.max": 1.5}, [PARAMS, "sepp.max: 1.5", "less than or equal to 1"]
    ),
    "unknown param": Mistake(
        "mine", {"sepp.minimum": 0.9}, [PARAMS, "sepp.minimum", "not a parameter", "spelling"]
    ),
    "missing param": Mistake(
        "combine", {"sepp.lambda": ...}, [PARAMS, "sepp.lambda", "sepp preset"], arguments=ARM
    ),
    "param of another stage": Mistake(
        "prepare", {"linear_eval.protocol": "mocov3"}, [PARAMS, "linear_eval.protocol: 'mocov3'"]
    ),
    "unknown param of a method": Mistake(
        "sampler", {"methods.moco.tau": 0.2}, [METHODS, "moco.tau", "spelling"]
    ),
    "bad value in the block of a method that is not in use": Mistake(
        "sampler", {"methods.dino.momentum": 2.0}, [METHODS, "dino.momentum", "2.0"]
    ),
    "masking for a method without negatives": Mistake(
        "pretrain",
        {"sepp.mask_partners": True, "pretrain.method": "vicreg"},
        [PARAMS, "sepp.mask_partners", "true", "vicreg", "false"],
        arguments=ARM,
    ),
    "unknown method": Mistake(
        "pretrain",
        {"pretrain.method": "mocoo"},
        [PARAMS, "pretrain.method", "'mocoo'", "there are barlow_twins"],
        arguments=ARM,
    ),
    "unknown arm in params": Mistake(
        "combine", {"arms": ["spp"]}, [PARAMS, "arms.0: 'spp'", "'sepp'"], arguments=ARM
    ),
    "unknown arm on the command line": Mistake(
        "combine", {}, ["--arm spp", "there are vanilla"], arguments=("--arm", "spp", "--seed", "0")
    ),
    "negative seed": Mistake(
        "combine", {}, ["--seed -1", "0 or more"], arguments=("--arm", "sepp", "--seed", "-1")
    ),
    "unknown data set": Mistake(
        "prepare",
        {"data.name": "digitz"},
        [PARAMS, "data.name", "'digitz'", "there are characters"],
    ),
    "unknown backbone": Mistake(
        "sampler",
        {"sampler.backbone": "resnet99"},
        [PARAMS, "sampler", "backbone 'resnet99'", "near it are resnet10"],
    ),
    "unknown backbone of a later stage": Mistake(
        "sampler",
        {"pretrain.backbone": "resnet99"},
        [PARAMS, "pretrain", "backbone 'resnet99'", "near it are resnet10"],
    ),
    "cifar stem of no ResNet": Mistake(
        "sampler",
        {"pretrain.backbone": "mobilenet_v2"},
        [PARAMS, "pretrain", "stem: cifar", "mobilenet_v2 needs stem: imagenet"],
    ),
    "K above the set": Mistake(
        "embed", {"embed.k": 49}, [PARAMS, "embed.k: 49 is above the 48", "lower it"], sampler()
    ),
    "NaN from the sampler": Mistake(
        "embed",
        {"embed.k": 1.0},
        ["image 0", "NaN or infinite", "lower base_lr"],
        sampler(float("nan")),
    ),
    "zeros from the sampler": Mistake(
        "embed",
        {"embed.k": 1.0},
        ["image 0", "of zero norm", "more epochs"],
        sampler(0.0),
    ),
    "NaN in the embeddings": Mistake(
        "mine",
        {},
        ["data/embeddings.parquet: image 2: NaN or infinite", "params.yaml", "dvc repro"],
        embeddings(float("nan")),
    ),
    "zeros in the embeddings": Mistake(
        "mine",
        {},
        ["data/embeddings.parquet: image 2: of zero norm", "params.yaml", "dvc repro"],
        embeddings(0.0),
    ),
    "a file in place of mining's folder": Mistake(
        "mine",
        {},
        ["data/.mine", "something else is in its place", "move it away"],
        in_the_way("data/.mine"),
    ),
    **{
        f"a folder in place of the pairs, {cap}": Mistake(
            "mine",
            {"sepp.max_pairs": cap, "sepp.min": 0.5, "sepp.max": 1.0},
            ["data/pairs.parquet", "something else is in its place", "move it away"],
            in_the_way("data/pairs.parquet", folder=True),
        )
        for cap in (None, 3)
    },
    "a folder in place of the pairs, to combine": Mistake(
        "combine",
        {},
        ["data/pairs.parquet: is not a Parquet file", "is a directory", "dvc repro mine"],
        in_the_way("data/pairs.parquet", folder=True),
        ("--arm", "sepp", "--seed", "0"),
    ),
    "no pair in the interval": Mistake(
        "mine",
        {"sepp.min": -1.0, "sepp.max": -0.99},
        ["data/embeddings.parquet", "[-1.0, -0.99]", "sepp.max="],
        embeddings(1.0),
    ),
    "projection of an encoder without one": Mistake(
        "embed",
        {},
        ["resnet10", "no projection head", "embed.layer: backbone in params.yaml"],
        sampler(head=None),
    ),
    "sampler cut short": Mistake(
        "embed", {}, ["models/sampler", "holds no encoder", "dvc repro"], spoiled_sampler
    ),
    "no sampler": Mistake("embed", {}, ["models/sampler", "holds no encoder", "dvc repro"]),
    "checkpoint that does not fit": Mistake(
        "sampler",
        given("w.safetensors"),
        ["w.safetensors", "missing conv1.weight", "unknown layer9.weight", "check backbone"],
        foreign_weights,
    ),
    **{
        f"weights that do not fit, to start from, {stage}": Mistake(
            stage,
            {
                **given("w.safetensors", "pretrain.weights"),
                "pretrain.backbone": "timm/test_vit",
                "pretrain.stem": "imagenet",
                "views.image_size": 32,
            },
            ["w.safetensors", "missing cls_token", "unknown layer9.weight", "check backbone"],
            lambda folder: (rows(folder), foreign_weights(folder)),
            arguments,
        )
        for stage, arguments in {"sampler": (), "pretrain": ARM}.items()  # before a long training
    },
    **{
        f"checkpoint gone since it was digested, {stage}": Mistake(
            stage,
            given("nowhere.pth"),
            ["sampler.checkpoint 'nowhere.pth'", "neither a file or folder", "such as ResNet50"],
            record_of("nowhere.pth"),
        )
        for stage in ("checkpoint", "sampler")
    },
    "checkpoint that is no encoder": Mistake(
        "checkpoint",
        given("data"),
        ["sampler.checkpoint 'data'", "config.json: No such file", "name a weights file"],
    ),
    **{
        f"{leaf} that are to be made": Mistake(
            "checkpoint",
            given(name, leaf),
            [f"{leaf} '{name}' is what is to be made", "copy the folder", "name the copy"],
        )
        for leaf, name in {
            "pretrain.weights": "models/sepp-0/epoch-30",
            "sampler.weights": "./models/sampler/",
        }.items()
    },
    "checkpoint in a folder of transformers": Mistake(
        "sampler",
        given("vit"),
        ["vit: holds no encoder (but a vit of transformers)", "timm's save_for_hf"],
        other_folder,
    ),
    "checkpoint without a watch": Mistake(
        "sampler",
        {"sampler.checkpoint": "w.pth"},
        [PARAMS, "watch is []", "sampler.checkpoint is w.pth", "set it to [sampler]"],
    ),
    "record of another checkpoint": Mistake(
        "sampler",
        given("w.pth"),
        ["data/weights/sampler.json: is about v.pth, not w.pth", "dvc repro checkpoint"],
        record_of("v.pth"),
    ),
    "record of other content": Mistake(
        "sampler",
        given("w.safetensors"),
        ["data/weights/sampler.json: is about other content of w.safe", "dvc repro checkpoint"],
        lambda folder: (foreign_weights(folder), record_of("w.safetensors")(folder)),
    ),
    "record of a checkpoint that is no more given": Mistake(
        "sampler",
        {},
        ["data/weights/sampler.json: is still about v.pth", "run `sepp checkpoint`"],
        record_of("v.pth"),
    ),
    "batch above the rows": Mistake(
        "sampler",
        {"sampler.batch_size": 49, "methods.moco.queue": 99},
        [PARAMS, "sampler.batch_size 49 is above the 48 training rows", "lower it"],
    ),
    "batch above the rows of an arm": Mistake(
        "pretrain",
        {"pretrain.batch_size": 49, "methods.moco.queue": 99},
        [PARAMS, "pretrain.batch_size 49 is above the 48 training rows", "lower it"],
        rows,
        ARM,
    ),
    "queue below a step's keys": Mistake(
        "sampler",
        {"methods.moco.queue": 31},
        [METHODS, "moco.queue: 31 is below the 32 keys", "sampler.batch_size smaller"],
    ),
    "queue below the keys of the training to come": Mistake(
        "sampler",
        {"methods.fnc.queue": 63, "pretrain.method": "fnc"},
        [METHODS, "fnc.queue: 63 is below the 64 keys", "pretrain.batch_size smaller"],
    ),
    "image size that a backbone does not take": Mistake(
        "sampler",
        {"pretrain.backbone": "alexnet", "pretrain.stem": "imagenet"},
        [PARAMS, "views.image_size: 8", "pretrain.backbone alexnet", "Output size is too small"],
    ),
    "image size that a transformer cannot be made for": Mistake(
        "sampler",
        {"pretrain.backbone": "vit_b_32", "pretrain.stem": "imagenet"},
        [PARAMS, "pretrain: backbone vit_b_32", "views.image_size of 8", "indivisible by patch"],
    ),
    "small crops that a transformer's patches do not fill": Mistake(
        "sampler",
        {
            "sampler.method": "dino",
            "sampler.backbone": "timm/test_vit-p4",
            "sampler.stem": "imagenet",
            "methods.dino.local_views": 2,
            "methods.dino.local_size": 6,
        },
        [METHODS, "dino.local_size: 6", "sampler.backbone timm/test_vit-p4", "divisible"],
    ),
    "unknown backbone of timm": Mistake(
        "sampler",
        {"sampler.backbone": "timm/resnet10"},
        [PARAMS, "sampler: unknown backbone 'timm/resnet10'; near it are timm/resnet1"],
    ),
    "local crops the wrong way round": Mistake(
        "sampler",
        {"methods.swav.local_area_min": 0.6},
        [METHODS, "swav", "local_area_min 0.6", "lower it"],
    ),
    "LARS without weight decay": Mistake(
        "sampler",
        {"methods.simclr.optimizer": "lars", "methods.simclr.weight_decay": 0.0},
        [METHODS, "simclr", "weight_decay 0.0", "raise it"],
    ),
    "splits that do not divide": Mistake(
        "sampler",
        {"methods.moco.bn_splits": 3},
        ["bn_splits: 3 does not divide the 16 rows", "batch_size in params.yaml"],
    ),
    "training that diverges": Mistake(
        "sampler",
        {"methods.moco.base_lr": 1e9},
        ["loss became nan in epoch 1", "lower moco.base_lr in methods.yaml"],
    ),
    "accelerator that is not there": Mistake(
        "sampler", {}, ["SEPP_ACCELERATOR=warp"], environment={"SEPP_ACCELERATOR": "warp"}
    ),
    "accelerator that is not there, to embed": Mistake(
        "embed", {}, ["SEPP_ACCELERATOR=warp"], sampler(), environment={"SEPP_ACCELERATOR": "warp"}
    ),
    "devices that are no number": Mistake(
        "sampler", {}, ["SEPP_DEVICES=two", "whole number"], environment={"SEPP_DEVICES": "two"}
    ),
    **{
        f"unknown arm by hand, {stage}": Mistake(
            stage,
            {},
            ["--arm TYPO", "no such arm", "there are vanilla", "oracle"],
            arguments=("--arm", "TYPO", "--seed", "0", *more),
        )
        for stage, more in {
            "pretrain": (),
            "linear_eval": (),
            "evaluate": ("--evaluation", "semi_supervised"),
        }.items()
    },
    "rows not combined": Mistake(
        "pretrain", {}, ["data/combined/vanilla-0.parquet", "dvc repro"], arguments=ARM
    ),
    "encoder not trained": Mistake(
        "linear_eval", {}, ["models/vanilla-0", "dvc repro"], arguments=ARM
    ),
    "embeddings not made": Mistake(
        "mine", {}, ["data/embeddings.parquet: is missing", "dvc repro embed"]
    ),
    "images gone": Mistake("sampler", {}, ["data/images.npy", "dvc repro"], without_images),
    **{
        f"manifest gone, {stage}": Mistake(
            stage,
            {},
            ["data/manifest.parquet: is missing", "dvc repro"],
            without_manifest,
            ARM if stage == "combine" else (),
        )
        for stage in ("sampler", "embed", "combine")
    },
    **{
        f"manifest garbled, {stage}": Mistake(
            stage,
            {},
            ["data/manifest.parquet: is not a Parquet file", "dvc repro prepare"],
            garbled_manifest,
            ARM if stage == "combine" else (),
        )
        for stage in ("sampler", "embed", "combine")
    },
}


def outputs(folder: Path) -> dict[str, bytes]:
    """All artefacts; not the locks and states of trainings, nor plots that tell what is wrong."""
    files = (
        f for name in ("data", "models", "reports/metrics") for f in folder.glob(f"{name}/**/*")
    )
    return {str(f): f.read_bytes() for f in files if f.is_file()}


@pytest.mark.parametrize("name", MISTAKES)
def test_one_line_exit_code_1_and_no_output(project, monkeypatch, name):
    mistake = MISTAKES[name]
    monkeypatch.setenv("SEPP_DATA_ROOT", str(project))
    mistake.prepare(project)
    write_params(project / "params.yaml", {**TINY, **mistake.changes})
    for variable, value in mistake.environment.items():
        monkeypatch.setenv(variable, value)
    before = outputs(project)
    main = importlib.import_module(f"stages.{mistake.stage}").main
    result = CliRunner().invoke(main, mistake.arguments)
    assert isinstance(result.exception, SystemExit), repr(result.exception)  # no traceback
    assert result.exit_code == 1
    start = result.output.find("Error: ")
    line = result.output[start:]
    assert start == 0 or result.output[start - 1] == "\n"
    assert line.count("\n") == 1
    assert line.endswith("\n")
    place = 0
    for part in mistake.said:
        assert part in line[place:], f"{part!r} is not in the rest of {line!r}"
        place = line.index(part, place) + len(part)
    assert outputs(project) == before
    assert not list(project.rglob("*.partial"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sepp: [", "other.yaml: file: is not YAML"),
        (None, "other.yaml: file: is missing; `sepp preset characters` writes one\n"),
    ],
)
def test_a_file_that_is_no_params(project, content, said):
    if content:
        (project / "other.yaml").write_text(content)
    main = importlib.import_module("stages.mine").main
    result = CliRunner().invoke(main, ["--params", "other.yaml"])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {said}")
    assert result.output.count("\n") == 1
