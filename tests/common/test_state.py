"""The state of an unfinished training: which experiment it belongs to, and who may use it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stages.common import env
from stages.common.errors import SeppError, StaleRunError
from stages.common.state import TrainingState, fingerprint
from tests.conftest import REPOSITORY

HOLDER = """
import time
from stages.common.state import TrainingState
with TrainingState("sampler", lambda: "f" * 64) as state:
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def states(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / "states"))
    monkeypatch.setattr(env, "is_first", lambda: True)
    return tmp_path / "states"


def state(value: str = "f" * 64) -> TrainingState:
    return TrainingState("sampler", lambda: value)


def write(folder: Path, **contents: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [folder / name for name in contents]


def test_fingerprint_is_of_settings_contents_and_names(tmp_path):
    first = fingerprint({"seed": 0, "lr": 0.1}, write(tmp_path / "1", a="x", b="y"))
    assert fingerprint({"lr": 0.1, "seed": 0}, write(tmp_path / "1", b="y", a="x")) == first
    others = [
        fingerprint({"seed": 1, "lr": 0.1}, write(tmp_path / "1", a="x", b="y")),
        fingerprint({"seed": 0, "lr": 0.1}, write(tmp_path / "2", a="x", b="z")),
        fingerprint({"seed": 0, "lr": 0.1}, write(tmp_path / "3", a="x", c="y")),
        fingerprint({"seed": 0, "lr": 0.1}, write(tmp_path / "4", a="x")),
    ]
    assert len({first, *others}) == 5


def test_fingerprint_is_not_of_time_or_place(tmp_path):
    """`dvc exp run --temp` runs in a copy, with other times, and must find the same state."""
    here, there = (write(tmp_path / name, a="x", b="y") for name in ("here", "there"))
    os.utime(there[0], (1, 1))
    assert fingerprint({}, here) == fingerprint({}, there)


def test_fingerprint_of_folders(tmp_path):
    (tmp_path / "model").mkdir()
    write(tmp_path / "model/inner", a="x")
    first = fingerprint({}, [tmp_path / "model"])
    write(tmp_path / "model/inner", a="y")
    assert fingerprint({}, [tmp_path / "model"]) != first


def test_fingerprint_of_a_missing_file(tmp_path):
    path = tmp_path / "pairs.parquet"
    with pytest.raises(SeppError, match=f"^{path}: is missing; run `dvc repro`"):
        fingerprint({}, [path])


def test_where_it_is_kept(states):
    with state() as held:
        assert held.folder == states / "sampler" / ("f" * 24)
        assert held.checkpoint == held.folder / "last.ckpt"
        assert held.folder.is_dir()
        assert not held.checkpoint.exists()


def test_a_state_is_found_again_and_cleared(states, caplog):
    caplog.set_level("INFO")
    with state() as held:
        held.checkpoint.write_text("weights")
        assert "resuming" not in caplog.text
    with state("e" * 64) as other:
        assert not other.checkpoint.exists()
    with state() as held:
        assert f"resuming from {held.checkpoint}" in caplog.text
        held.clear()
        assert not held.folder.exists()
    with state() as held:
        assert not held.checkpoint.exists()


def test_only_the_first_rank_clears(states, monkeypatch):
    with state() as held:
        held.checkpoint.write_text("weights")
        monkeypatch.setattr(env, "is_first", lambda: False)
        held.clear()
        assert held.checkpoint.exists()


def test_an_edit_while_it_runs_is_refused(states):
    values = ["f" * 64]
    with TrainingState("sampler", lambda: values[0]) as held:
        held.check()
        values[0] = "e" * 64
        with pytest.raises(StaleRunError) as error:
            held.check()
        assert str(held.folder) in str(error.value)
        assert "\n" not in str(error.value)
        values[0] = "f" * 64
        held.check()


def test_the_lock_is_released_after_an_error(states):
    def fail() -> None:
        with state():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with state():
        pass


def test_a_second_process_waits_until_the_first_is_killed(states, caplog):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, env=environment
    )
    entered = threading.Event()

    def second() -> None:
        with state():
            entered.set()

    waiting = threading.Thread(target=second, daemon=True)
    try:
        assert first.stdout.readline() == "held\n"
        waiting.start()
        assert not entered.wait(0.5)
        assert "another process runs this very training" in caplog.text
        with state("e" * 64):  # another training does not wait
            pass
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert entered.wait(10)
    waiting.join(10)


def test_parts_are_kept_apart_and_made_once(states, caplog):
    caplog.set_level("INFO")
    calls = []

    def make(name: str) -> dict:
        calls.append(name)
        return {"top1": 100 / 3, "name": name}

    with state() as held:
        one, two = held.part("one"), held.part("two")
        assert len({held.checkpoint, one.checkpoint, two.checkpoint}) == 3
        one.checkpoint.write_text("weights")
        first = one.once(lambda: make("one"))
        assert not one.checkpoint.exists()
        two.checkpoint.write_text("weights")
        with pytest.raises(KeyboardInterrupt):
            two.once(interrupted)
    with state() as held:
        assert held.part("one").once(lambda: make("again")) == first
        assert "done before" in caplog.text
        two = held.part("two")
        assert f"resuming from {two.checkpoint}" in caplog.text
        assert two.once(lambda: make("two"))["name"] == "two"
        held.clear()
        assert not two.folder.exists()
    assert calls == ["one", "two"]


def interrupted() -> None:
    raise KeyboardInterrupt
