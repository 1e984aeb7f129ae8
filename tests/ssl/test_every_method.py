"""What must hold for every method in stages/ssl/methods, the ones to come included."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

from stages.common import artifacts
from stages.ssl.batches import read_rows
from stages.ssl.methods import MethodParams, find_method
from tests.conftest import REPOSITORY, load_preset
from tests.ssl.test_distributed import free_port
from tests.ssl.tiny import METHODS
from tests.ssl.training import (
    AS_IT_IS,
    as_on_one_process,
    broken_and_resumed,
    first_weights,
    train_tiny,
    use_tiny_backbone,
    write_project,
)


def blocks(preset: str) -> dict[str, dict]:
    """The methods of a preset; a method that someone adds need not be in one."""
    return load_preset(preset).methods


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A prepared project as working directory, which saves a state at every epoch's end."""
    use_tiny_backbone(monkeypatch.setattr)
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / ".state"))
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    monkeypatch.setenv("SEPP_CHECKPOINT_SECONDS", "0")
    return tmp_path


@pytest.mark.parametrize("name", METHODS)
def test_a_broken_training_ends_in_the_same_bits(folder, monkeypatch, name):
    """Queues, momentum encoders, prototypes, centres and schedules are all in the saved state."""
    (whole, history), (resumed, again) = broken_and_resumed(name, monkeypatch)
    assert again == history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert history[-1]["embedding_std"] > 0.05


@pytest.mark.parametrize("name", METHODS)
def test_lambda_zero_is_vanilla_to_the_bit(folder, name):
    instances = np.arange(48)
    anchor, positive = (np.concatenate([instances, more]) for more in ([0, 1, 2], [3, 4, 5]))
    trained = []
    for count in (48, 51):  # vanilla, and three semantic rows of weight 0
        columns = [anchor[:count], positive[:count], np.repeat(np.float32([1, 0]), [48, 3])[:count]]
        kinds = pa.array(["instance"] * 48 + ["semantic"] * 3)[:count].dictionary_encode()
        table = pa.table([*columns, kinds], schema=artifacts.COMBINED)
        masked = {"mask_partners": find_method(name).has_negatives and count > 48}
        artifacts.write_parquet(folder / "rows.parquet", table, artifacts.COMBINED, masked)
        trained.append(train_tiny(name, 1, rows=read_rows(folder / "rows.parquet")))
    (vanilla, history), (weightless, again) = trained
    assert again == history
    for key, value in vanilla.state_dict().items():
        assert torch.equal(value, weightless.state_dict()[key]), key


@pytest.mark.parametrize("name", METHODS)
def test_bf16_trains_nearly_as_fp32_does(folder, name):
    (_, exact), (_, rounded) = (train_tiny(name, 1, precision=p) for p in ("fp32", "bf16"))
    assert rounded != exact
    assert rounded[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.1, abs=0.01)


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path, monkeypatch):
    """Same losses and weights: all statistics, negatives and queues are the whole batch's."""
    write_project(tmp_path, **AS_IT_IS)
    use_tiny_backbone(monkeypatch.setattr)
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / ".state"))
    launcher = ("torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}")
    arguments = ("-m", "tests.ssl.training", str(tmp_path), str(tmp_path / "trained.pt"))
    variables = {**os.environ, "SEPP_DEVICES": "2", "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(
        [sys.executable, "-m", *launcher, *arguments], env=variables, cwd=REPOSITORY, check=True
    )
    both = torch.load(tmp_path / "trained.pt", weights_only=True)
    wrong, start = {}, {name: first_weights(name) for name in METHODS}
    for name in METHODS:
        weights, history = as_on_one_process(name, tmp_path)
        others, their_history = both[name]
        distance = (others - weights).norm() / (weights - start[name]).norm()
        losses = [(a["loss"], b["loss"]) for a, b in zip(history, their_history, strict=True)]
        if distance > 1e-3 or any(abs(a - b) > 1e-4 * abs(a) for a, b in losses):
            wrong[name] = (float(distance), losses)
    assert not wrong


@pytest.mark.parametrize("name", blocks("imagenet"))
def test_the_imagenet_preset_is_the_default(name):
    kind = find_method(name).Params
    assert kind(**blocks("imagenet")[name]) == kind()


@pytest.mark.parametrize("preset", ["digits", "cifar10", "stl10"])
def test_presets_have_the_same_methods(preset):
    assert blocks(preset).keys() == blocks("imagenet").keys()


@pytest.mark.parametrize("name", blocks("imagenet"))
@pytest.mark.parametrize("preset", ["digits", "cifar10", "stl10", "imagenet"])
def test_presets_have_a_whole_block(preset, name):
    """But for leaves that change nothing where they are left out."""
    block, kind = blocks(preset)[name], find_method(name).Params
    left_out = kind.model_fields.keys() - block
    assert left_out <= {"rate_scaling", "views", "first_view", "second_view"}
    for key in left_out:
        assert kind.model_fields[key].default == MethodParams.model_fields[key].default
    # In a dump tuples stay tuples.
    assert json.loads(kind(**block).model_dump_json(exclude=left_out)) == block
