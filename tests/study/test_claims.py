"""Who may run what: locks that die with their process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stages.study.claims import CACHED, RAN, Claim, running, trained
from stages.study.trainings import Training
from tests.conftest import REPOSITORY

FIRST = {"sampler": Training("shared", 1, 1), "pretrain@sepp-0": Training("own", 1, 1)}
SECOND = {"sampler": Training("shared", 1, 1), "pretrain@sepp-0": Training("other", 1, 1)}
THIRD = {"sampler": Training("another", 1, 1)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_an_experiment_is_one_processes_at_a_time():
    claim = Claim.take("a", FIRST)
    assert running("a")
    assert not running("b")
    assert Claim.take("a", FIRST) is None
    claim.release()
    assert not running("a")
    assert Claim.take("a", FIRST)


def test_who_would_train_the_same_waits_until_that_is_done():
    claim = Claim.take("a", FIRST)
    assert Claim.take("b", SECOND) is None
    assert Claim.take("c", THIRD)  # has nothing in common with it
    claim.passed("sampler", RAN)
    claim.passed("embed", RAN)  # no training
    second = Claim.take("b", SECOND)
    assert second
    assert (trained("shared"), trained("own")) == (RAN, None)
    second.passed("sampler", CACHED)
    assert trained("shared") == RAN  # as it was first told


def test_what_is_refused_holds_nothing():
    claim = Claim.take("a", FIRST)
    assert Claim.take("b", {"x": Training("free", 1, 1), **SECOND}) is None
    assert Claim.take("d", {"x": Training("free", 1, 1)})
    claim.release()


def test_a_killed_process_holds_nothing():
    code = (
        "import sys, time\n"
        "from stages.study.claims import Claim\n"
        "claim = Claim.take('a', {})\n"
        "print('taken', flush=True)\n"
        "time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "taken\n"
    assert running("a")
    assert Claim.take("a", {}) is None
    holder.kill()
    holder.wait()
    assert Claim.take("a", {})


def test_what_dvc_runs_again_is_not_done():
    """As after `dvc gc`: others wait for it as they did the first time."""
    Claim.take("a", FIRST).passed("sampler", RAN)
    claim = Claim.take("b", SECOND)
    claim.begins("sampler")
    assert trained("shared") is None
    assert Claim.take("c", {"sampler": Training("shared", 1, 1)}) is None
    claim.begins("embed")  # no training
    claim.passed("sampler", RAN)
    assert trained("shared") == RAN
    assert Claim.take("c", {"sampler": Training("shared", 1, 1)})
