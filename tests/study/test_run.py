"""Experiments of a study under DVC, on a pipeline of shell commands: each runs once, also when what
runs them is killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests import test_pipeline as pipeline
from tests.comparison.checkout import git
from tests.conftest import YAML_SAFE
from tests.study.toy import STUDY, Toy

pytestmark = pytest.mark.slow


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Toy:
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "GIT_DIR", "GIT_WORK_TREE", "SEPP_DATA_ROOT", "SEPP_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return Toy(tmp_path)


def experiments() -> list[str]:
    refs = git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    return sorted(ref.rpartition("/")[2].rpartition("-s0-")[0] for ref in refs)


ONCE = {"end sampler", "end pretrain@vanilla-0"}  # the same in all experiments


def test_a_study_runs_once_and_failures_again(toy):
    (toy.folder / "broken").touch()
    said = toy.study(fails=True)
    assert "toy-0.9-s0-" in said
    assert "it is broken (.dvc/tmp/studies/logs/toy-0.9-s0-" in said
    assert "Error: 2 of 2 experiments have not run; `sepp study toy` tries them again" in said
    assert "failed: it is broken" in toy.study("--dry")
    (toy.folder / "broken").unlink()
    before = git("status", "--porcelain"), git("rev-parse", "HEAD")
    said = toy.study()
    assert "2 of 2 experiments done, 100% of the training" in said
    assert experiments() == ["toy-0.9", "toy-0.95"]
    ended = Counter(line for line in toy.log() if line.startswith("end"))
    assert ended["end pretrain@sepp-0"] == 2
    assert {line: ended[line] for line in ONCE} == dict.fromkeys(ONCE, 1)
    assert (git("status", "--porcelain"), git("rev-parse", "HEAD")) == before
    assert not any(Path(".dvc/tmp/studies/work").glob("*/*"))
    whole = toy.log()
    assert "2 of 2 experiments have run before" in toy.study()
    assert toy.log() == whole


def test_of_two_commands_one_is_killed_and_the_other_takes_over(toy):
    """As on two machines with one disk, of which the second leaves once it has nothing to do."""
    (toy.folder / "studies/toy.yaml").write_text(STUDY.replace("[0.9, 0.95]", "[0.9, 0.93, 0.95]"))
    git("commit", "-qam", "Three thresholds")
    shared = toy.hold("pretrain@vanilla-0")
    first = toy.start()
    toy.wait_for("start pretrain@vanilla-0")
    second = toy.start("--leave")  # which nothing is free for, but not because it runs elsewhere
    time.sleep(15)
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    shared.unlink()
    said, _ = second.communicate()
    assert second.returncode == 0, said
    assert experiments() == ["toy-0.9", "toy-0.93", "toy-0.95"]
    ended = Counter(line for line in toy.log() if line.startswith("end"))
    assert ended["end sampler"] == 1  # before the kill
    assert ended["end pretrain@vanilla-0"] == 1
    assert ended["end pretrain@sepp-0"] == 3


def test_a_command_leaves_what_runs_elsewhere(toy):
    own = toy.hold("pretrain@sepp-0")
    first = toy.start("-j", "2")
    toy.wait_for("start pretrain@sepp-0", times=2)
    said = toy.study("--leave")
    assert "2 of 2 experiments run elsewhere: toy-0.9-s0-" in said
    own.unlink()
    said, _ = first.communicate()
    assert first.returncode == 0, said
    assert toy.log().count("end pretrain@sepp-0") == 2


def outcomes() -> dict[str, str]:
    """What DVC has recorded of each experiment: the digests of all that its stages made."""
    refs = git("for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").split()
    return {ref.rpartition("/")[2]: git("show", f"{ref}:dvc.lock") for ref in refs}


def test_what_a_killed_worker_had_another_of_the_same_command_finishes(toy):
    shared = toy.hold("pretrain@vanilla-0")
    both = toy.start("-j", "2")
    toy.wait_for("start pretrain@vanilla-0")
    os.kill(worker_of(both), signal.SIGKILL)
    toy.wait_for("start pretrain@vanilla-0", times=2)  # which waits for what the first has
    time.sleep(3)  # what the killed one left behind has been ended
    shared.unlink()
    said, _ = both.communicate()
    assert both.returncode == 0, said
    assert "a worker was killed (signal 9)" in said
    assert toy.log().count("end pretrain@vanilla-0") == 1
    found = outcomes()
    assert len(found) == 2

    for name in found:  # the same without a kill
        subprocess.run([sys.executable, "-m", "dvc", "exp", "remove", "-q", name], check=True)
    shutil.rmtree(".dvc/cache")
    shutil.rmtree(".dvc/tmp/studies")
    toy.study()
    assert toy.log().count("end pretrain@vanilla-0") == 2
    assert outcomes() == found


def test_the_last_worker_is_killed_and_the_same_command_goes_on(toy):
    own = toy.hold("pretrain@sepp-0")
    alone = toy.start()
    toy.wait_for("start pretrain@sepp-0")
    os.kill(worker_of(alone), signal.SIGKILL)
    said, _ = alone.communicate()
    assert alone.returncode == 1
    assert "Error: 2 of 2 experiments have not run; `sepp study toy` tries them again" in said
    own.unlink()
    assert "2 of 2 experiments done" in toy.study()
    assert not any(Path(".dvc/tmp/studies/work").glob("*/*"))  # nor what the killed one left
    ended = Counter(line for line in toy.log() if line.startswith("end"))
    assert {line: ended[line] for line in ONCE} == dict.fromkeys(ONCE, 1)
    assert ended["end pretrain@sepp-0"] == 2


def worker_of(command: subprocess.Popen) -> int:
    """The process id of the worker that has begun an experiment."""
    asked = ["pgrep", "-P"]
    workers = subprocess.run([*asked, str(command.pid)], capture_output=True, text=True).stdout
    (busy,) = (
        worker
        for worker in workers.split()
        if subprocess.run([*asked, worker], capture_output=True).stdout
    )
    return int(busy)


def test_an_experiment_without_results_is_told(toy):
    """It has run, and no command runs it again before it is removed."""
    (toy.folder / "results.json").write_text("no JSON")
    git("commit", "-qam", "Broken results")
    said = toy.study(fails=True)
    log = toy.log()
    said = toy.study(fails=True)
    name = re.search(r"toy-0\.9-s0-\w+", said)[0]
    assert f"`dvc exp remove {name}` lets it run again" in said
    assert "Error: 2 of 2 experiments have no results" in said
    assert toy.log() == log
    subprocess.run([sys.executable, "-m", "dvc", "exp", "remove", "-q", name], check=True)
    toy.study(fails=True)
    assert len(experiments()) == 2


SMALL = {key: value for key, value in pipeline.SMALL.items() if key not in ("seeds", "sepp.min")}
TINY = {
    "title": "Two thresholds",
    "about": "On digits.",
    "preset": "digits",
    "set": SMALL,
    "grid": {"sepp.min": [0.97, 0.99]},
    "columns": ["pairs", "accuracy", "linear", "knn"],
}


def test_on_the_real_pipeline_what_is_done_is_not_done_again(tmp_path):
    """Digits, end to end, killed when the sampler is trained and an arm begins."""
    checkout = pipeline.Checkout(tmp_path / "checkout")
    (checkout.folder / "studies").mkdir()
    with (checkout.folder / "studies/tiny.yaml").open("w") as file:
        YAML_SAFE.dump(TINY, file)
    logs = checkout.folder / ".dvc/tmp/studies/logs"

    def ran(row: str) -> list[str]:
        found = "".join(log.read_text() for log in logs.glob(f"tiny-{row}-s0-*.log"))
        return re.findall(r"Running stage '([^']+)'", found)

    variables = {**os.environ, "SEPP_ACCELERATOR": "cpu", "SEPP_WORKERS": "0"}
    command = [sys.executable, "-m", "stages.cli", "study", "tiny"]
    killed = subprocess.Popen(command, cwd=checkout.folder, env=variables)
    while not any(stage.startswith("pretrain") for stage in ran("0.97")):
        assert killed.poll() is None
        time.sleep(0.1)
    killed.kill()
    killed.wait()
    before = ran("0.97")
    assert {"prepare", "sampler", "embed", "mine"} <= set(before)
    checkout.run(*command)
    # What it was at is begun again, and nothing before it.
    assert set(ran("0.97")) & set(before) == {before[-1]}
    assert {*before, *ran("0.97")} >= {"pretrain@vanilla-0", "pretrain@sepp-0", "report"}
    assert set(ran("0.99")) <= pipeline.AFTER_PAIRS
    said = checkout.sepp("compare")
    assert "tiny-0.97-s0-" in said
    assert "changed since" not in said
    table = (checkout.folder / "reports/studies/tiny.md").read_text()
    assert "2 of 2 experiments have run" in table
    assert "not run" not in table
    assert "nothing to commit" not in checkout.run("git", "status")  # its table is to be committed
    times = {log: log.stat().st_mtime_ns for log in logs.iterdir()}
    assert "2 of 2 experiments have run before" in checkout.run(*command)
    assert {log: log.stat().st_mtime_ns for log in logs.iterdir()} == times
