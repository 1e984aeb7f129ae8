"""A killed training continues to the same bits as one that was never broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.combine import main as combine
from stages.ssl.trainer import is_whole
from tests.conftest import REPOSITORY, TINY, write_data, write_folder_data, write_params

ENVIRONMENT = {"SEPP_ACCELERATOR": "cpu", "SEPP_CHECKPOINT_SECONDS": "0", "SEPP_WORKERS": "0"}
EPOCHS = 8


def project(folder: Path, streamed: bool = False, **more: Any) -> Path:
    """A working directory with everything that pretrain reads."""
    folder.mkdir(parents=True)
    changes = {"pretrain.epochs": EPOCHS, "sampler.epochs": EPOCHS, "methods.moco.bn_splits": 2}
    write_params(folder / "params.yaml", {**TINY, **changes, **more})
    (write_folder_data if streamed else write_data)(folder)
    return folder


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """`python -m stages…` in `folder`; `DVC_ROOT` is not set, so that it is the repository."""
    variables = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(REPOSITORY)}
    variables |= {"SEPP_STATE_DIR": str(folder / ".state"), "SEPP_DATA_ROOT": str(folder / "raw")}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=variables | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def wait_for_checkpoints(process: subprocess.Popen, folder: Path, count: int = 1) -> None:
    """Until the training has saved its state `count` times."""
    seen: set[int] = set()
    while len(seen) < count:
        assert process.poll() is None, process.communicate()[0]
        for checkpoint in folder.glob(".state/*/*/last.ckpt"):
            seen.add(checkpoint.stat().st_mtime_ns)
        time.sleep(0.005)


def kill_after_a_checkpoint(process: subprocess.Popen, folder: Path, epoch: int) -> None:
    """kill -9 once `epoch` checkpoints have been written, wherever the training is by then."""
    wait_for_checkpoints(process, folder, epoch)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def result(folder: Path, name: str, curve: str) -> tuple[bytes, bytes]:
    weights = (folder / f"models/{name}/model.safetensors").read_bytes()
    return weights, (folder / f"reports/plots/{curve}.csv").read_bytes()


@pytest.mark.parametrize(
    "streamed",
    [
        pytest.param(False, id="packed"),
        pytest.param(True, id="streamed", marks=pytest.mark.slow),
    ],
)
def test_killed_twice_a_training_ends_in_the_same_bits(tmp_path, streamed):
    broken, whole = (project(tmp_path / name, streamed) for name in ("broken", "whole"))
    workers = {"SEPP_WORKERS": "2" if streamed else "0"}
    finish(command(whole, "stages.sampler", SEPP_WORKERS="0"))
    for epoch in (2, 3):
        kill_after_a_checkpoint(command(broken, "stages.sampler", **workers), broken, epoch)
        assert not (broken / "models/sampler").exists()
    assert "resuming from" in finish(command(broken, "stages.sampler", **workers))
    assert result(broken, "sampler", "sampler") == result(whole, "sampler", "sampler")
    assert len(result(whole, "sampler", "sampler")[1].splitlines()) == 1 + EPOCHS
    assert not list(broken.glob(".state/*/*/last.ckpt"))  # a finished state is cleared


@pytest.mark.parametrize("damage", ["cut short", "another byte"])
def test_a_damaged_state_is_told_of_and_not_taken_up(tmp_path, damage):
    path = tmp_path / "last.ckpt"
    assert not is_whole(path)
    torch.save({"weights": torch.arange(1000.0)}, path)
    assert is_whole(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content if damage == "another byte" else content[:-9])
    assert not is_whole(path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.damaged"]


def test_a_state_that_cannot_be_read_for_the_moment_is_no_damaged_one(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    torch.save({}, path)

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("zipfile.ZipFile", refuse)
    with pytest.raises(PermissionError):
        is_whole(path)
    assert path.exists()


def test_what_an_arm_leaves_on_its_way_survives_a_kill(tmp_path):
    """Killed after the epoch at which a round goes on, or before it."""
    pretrain = ("stages.pretrain", "--arm", "sepp", "--seed", "0")
    left: dict[int, bytes] = {}
    for killed in (0, 1, 4):
        folder = project(tmp_path / str(killed), **{"pretrain.handover": [3]})
        finish(command(folder, "stages.combine", "--arm", "vanilla", "--seed", "0"))
        rows = folder / "data/combined"
        (rows / "vanilla-0.parquet").rename(rows / "sepp-0.parquet")  # rounds start from sepp alone
        if killed:
            kill_after_a_checkpoint(command(folder, *pretrain), folder, killed)
        finish(command(folder, *pretrain))
        left[killed] = (folder / "models/sepp-0/epoch-3/training.safetensors").read_bytes()
    assert left[0] == left[1] == left[4]


@pytest.mark.slow
def test_params_edited_mid_run_are_refused_at_the_end(tmp_path):
    folder = project(tmp_path / "p")
    process = command(folder, "stages.sampler")
    wait_for_checkpoints(process, folder)
    original = (folder / "methods.yaml").read_text()
    edited = original.replace("weight_decay: 0.0005", "weight_decay: 0.1")
    assert edited != original
    (folder / "methods.yaml").write_text(edited)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "were edited while this training ran" in output.splitlines()[-1]
    assert "Traceback" not in output
    assert not (folder / "models/sampler").exists()
    # With the edit undone the work is not lost: only what came after the last checkpoint is redone.
    (folder / "methods.yaml").write_text(original)
    assert "resuming from" in finish(command(folder, "stages.sampler"))


@pytest.mark.slow
def test_an_edit_that_the_stage_does_not_read_is_no_edit(tmp_path):
    folder = project(tmp_path / "p")
    process = command(folder, "stages.sampler")
    wait_for_checkpoints(process, folder)
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("knn_k: 200", "knn_k: 20"))
    finish(process)


@pytest.mark.slow
def test_another_seed_never_takes_up_a_state(tmp_path, monkeypatch):
    folder = project(tmp_path / "p")
    monkeypatch.chdir(folder)
    (folder / "data/combined").mkdir()
    for seed in (0, 1):
        combine.main(["--arm", "vanilla", "--seed", str(seed)], standalone_mode=False)
    arguments = ("stages.pretrain", "--arm", "vanilla", "--seed")
    kill_after_a_checkpoint(command(folder, *arguments, "0"), folder, 1)
    assert "resuming" not in finish(command(folder, *arguments, "1"))
    assert "resuming" in finish(command(folder, *arguments, "0"))
