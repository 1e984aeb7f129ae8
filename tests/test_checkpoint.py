"""The record of weights that were given changes with their content, and with nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stages import checkpoint, sampler
from stages.common import weights
from stages.common.errors import ArtifactError, CheckpointError
from stages.common.given import Given
from stages.ssl.encoder import Encoder, EncoderConfig
from tests.conftest import REPOSITORY, TINY, write_params


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights beside an empty checkout, which is the working directory."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    for name in ("SEPP_STATE_DIR", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    given = tmp_path / "w.pth"
    given.write_bytes(b"weights")
    return given


def recorded(name: object, leaf: str = "sampler.checkpoint") -> dict:
    section = leaf.partition(".")[0]
    changes = {leaf: name and str(name), "watch": [section] if name else []}
    params, outputs = write_params(Path("params.yaml"), changes), checkpoint.Outputs.of(section)
    checkpoint.run(checkpoint.Params.load(params), outputs, section)
    return json.loads(outputs.record.read_text())


def test_name_size_and_content(file):
    found = recorded(file)
    assert (found["name"], found["bytes"]) == (str(file), 7)
    os.utime(file, ns=(0, 0))
    assert recorded(file) == found
    file.write_bytes(b"WEIGHTS")
    assert recorded(file)["digest"] != found["digest"]
    file.write_bytes(b"weights")
    assert recorded(file) == found


def test_weights_to_start_from_are_digested_as_those_to_take(file):
    found = recorded(file)
    assert recorded(file, "sampler.weights") == recorded(file, "pretrain.weights") == found
    assert {f.name for f in Path("data/weights").iterdir()} == {"sampler.json", "pretrain.json"}


def test_what_was_not_touched_is_read_once(file, monkeypatch):
    found, read = recorded(file), []
    monkeypatch.setattr(weights, "_sha256", lambda path: read.append(path) or "another")
    assert recorded(file) == found
    assert read == []
    os.utime(file)
    assert recorded(file)["digest"] == "another"


def test_the_same_time_and_size_do_not_hide_other_content(file):
    """As `cp -p` and `rsync -t` leave it."""
    found, status = recorded(file), file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert recorded(file)["digest"] != found["digest"]


def test_a_lost_memory_costs_one_reading(file):
    found = recorded(file)
    Path(".state/digests.json").write_text("{")
    assert recorded(file) == found


def test_of_a_folder_what_is_read_of_it_counts(file):
    folder = Path("models/round-1")
    encoder = Encoder(EncoderConfig("resnet10-w8", "cifar", 8, (0.5,) * 3, (0.25,) * 3))
    encoder.save(folder)
    found = recorded(folder)
    assert found["bytes"] == sum(f.stat().st_size for f in folder.iterdir())
    (folder / "training.safetensors").write_bytes(b"what a warm start reads")
    assert recorded(folder) == found
    (folder / "config.json").write_text("{}")
    assert recorded(folder)["digest"] != found["digest"]
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")  # as old folders have it
    assert recorded(folder)["bytes"] == 2 + (folder / "pytorch_model.bin").stat().st_size
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: No such file.*name a weights"):
        recorded(folder)


def test_names_are_of_the_users_checkout(file, monkeypatch):
    """`dvc exp run --temp` runs in a copy, in which git-ignored folders are not."""
    Path("w.pth").write_bytes(b"12345")
    monkeypatch.setenv("DVC_ROOT", str(Path.cwd()))
    copy = file.parent / "copy"
    copy.mkdir()
    monkeypatch.chdir(copy)
    assert recorded("w.pth")["bytes"] == 5
    monkeypatch.setenv("HOME", str(file.parent))
    assert recorded("~/w.pth")["bytes"] == 7


@pytest.mark.parametrize("section", checkpoint.SECTIONS)
def test_the_committed_record_is_that_of_none(file, section):
    assert recorded(None, f"{section}.weights") == weights.NONE
    committed = REPOSITORY / checkpoint.Outputs.of(section).record
    assert json.loads(committed.read_text()) == weights.NONE


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("ResNet50_Weights.IMAGENET1K_V2", True),
        ("ViT_B_16_Weights.DEFAULT", True),
        ("timm/resnet50.a1_in1k", True),
        ("./ResNet50_Weights.IMAGENET1K_V2", False),
        ("./timm/resnet50.a1_in1k", False),
        ("ResNet50_Weights.pth", False),
        ("models/sepp-0", False),
    ],
)
def test_files_and_names_that_libraries_know_are_told_apart(name, named):
    assert Given("sampler.weights", name).is_named == named


def test_the_sampler_takes_only_what_was_recorded(project):
    (project / "data/weights/sampler.json").unlink()
    encoder = Encoder(EncoderConfig("resnet10-w8", "cifar", 8, (0.5,) * 3, (0.25,) * 3))
    save_file(encoder.backbone.state_dict(), project / "w.safetensors")
    changes = {"sampler.checkpoint": "w.safetensors", "watch": ["sampler"]}
    params = write_params(project / "params.yaml", {**TINY, **changes})
    inputs, settings = sampler.Inputs(), sampler.Params.load(params)
    outputs = sampler.Outputs()
    with sampler.TrainingState("sampler", lambda: "same") as state:
        with pytest.raises(ArtifactError, match=r"sampler\.json: is missing.*repro checkpoint"):
            sampler.run(settings, inputs, outputs, state)
        checkpoint.run(checkpoint.Params.load(params), checkpoint.Outputs.of("sampler"), "sampler")
        sampler.run(settings, inputs, outputs, state)
    kept = Encoder.load(outputs.encoder).backbone.conv1.weight
    assert torch.equal(kept, encoder.backbone.conv1.weight)
    facts = json.loads(outputs.metrics.read_text())
    assert facts == dict.fromkeys(("method", "epochs", "steps", "batch_size", "rows_seen"))
