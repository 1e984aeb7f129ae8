"""`sepp study`: what it tells and refuses, without running anything."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stages import cli
from stages.study import present, worker
from stages.study.claims import CACHED, RAN, Claim
from stages.study.job import Job
from stages.study.run import Pace, Progress, line, progress, run_jobs
from stages.study.trainings import Training
from stages.study.worker import follow, reason
from tests.comparison.checkout import git, summary
from tests.comparison.conftest import checkout as _checkout
from tests.study.conftest import made

checkout = _checkout


def sepp(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["study", *arguments])


def refused(*arguments: str) -> str:
    result = sepp(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    return result.output


def test_the_list_has_every_study_and_its_cost(checkout):
    told = sepp("--list")
    assert told.exit_code == 0, told.output
    lines = {words[0]: words for words in map(str.split, told.output.splitlines()) if words}
    assert lines["table2"][1:5] == ["4", "9", "3.97", "G"]
    assert lines["thresholds"][1:5] == ["18", "24", "1.47", "M"]
    assert max(map(len, told.output.splitlines()[:-1])) <= 100


def test_dry_names_the_experiments_and_what_is_left(checkout):
    Path("studies").mkdir()
    text = "{title: T, about: A, preset: digits, columns: [linear], grid: {sepp.min: [0.9, 0.95]}}"
    Path("studies/mine.yaml").write_text(text)
    told = sepp("mine", "--dry").output
    assert "2 of 2 experiments are to run, with 4 different trainings of 35.9 k images" in told
    assert "not known before one has run" in told
    name = next(word for word in told.split() if word.startswith("mine-0.9-s0-"))
    # Of 28,740 rows, 20 minutes each for the sampler and two arms: 1 hour.
    for stage in ("sampler", "pretrain/vanilla-0", "pretrain/sepp-0"):
        path = Path(f"reports/metrics/cost/{stage}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        cost = {"seconds": 1200.0, "device": "x", "peak_memory_mib": 1}
        path.write_text(
            json.dumps(
                {"cost": [{**cost, "peak_gpu_memory_mib": None, "images": int(stage == "sampler")}]}
            )
        )
    checkout.experiment(name, summary(seeds=1))
    Path("studies").mkdir(exist_ok=True)
    Path("studies/mine.yaml").write_text(text)
    told = sepp("mine", "--dry").output
    assert "1 of 2 experiments are to run, with 1 different trainings of 7.18 k images" in told
    assert "Time on one worker: 15 min, estimated from what has run" in told
    told = sepp("--list").output
    (line,) = (line.split() for line in told.splitlines() if line.startswith("mine "))
    assert line[1:8] == ["2", "4", "35.9", "k", "75", "min", "T"]


def test_a_table_is_not_replaced_by_one_without_results(checkout):
    """Git has the table, and not the experiments."""
    table = Path("reports/studies/thresholds.md")
    assert sepp("thresholds", "--show").exit_code == 0
    table.write_text("of another machine")
    assert "thresholds.md: of experiments that are not here" in refused("thresholds", "--show")
    assert table.read_text() == "of another machine"


def test_mistakes_are_one_line(checkout):
    assert "which study? `sepp study --list`" in refused()
    assert "tabel2: no study of that name; did you mean table2?" in refused("tabel2")
    assert "--preset cifar10: the study is none of that preset" in refused(
        "table6", "--preset=cifar10"
    )
    assert sepp("table6", "--seeds", "a").exit_code == 2
    assert "has no dvc.yaml and .dvc: run it in your checkout" in refused("table6")
    Path("dvc.yaml").write_text("stages: {}\n")
    Path(".dvc").mkdir()
    assert "dvc.yaml: not as git has it, and experiments run what is committed" in refused("table6")
    git("add", "-A")
    git("commit", "-qm", "Pipeline")
    Path("dvc.yaml").write_text("stages: {}  # edited\n")
    assert "Error: dvc.yaml: not as git has it" in refused("table6")
    git("checkout", "-q", "dvc.yaml")
    said = refused("table6")
    assert "table6 needs imagenet, but " in said
    assert "set SEPP_DATA_ROOT" in said


def test_uncommitted_studies_and_params_are_no_hindrance(checkout):
    Path("dvc.yaml").write_text("stages: {}\n")
    Path(".dvc").mkdir()
    git("add", "-A")
    git("commit", "-qm", "Pipeline")
    Path("params.yaml").write_text("x: 1\n")
    Path("stages/studies").mkdir(parents=True)
    Path("stages/studies/mine.yaml").write_text("")
    present.check(made())
    Path("stages/other.py").write_text("")
    with pytest.raises(Exception, match=r"stages/other\.py: not as git has it"):
        present.check(made())


def test_progress_in_one_line(monkeypatch):
    at = Progress(2, 1, {"a-s0": "sampler 40%"}, 30.0, 10.0, 100.0)
    told = line(at, 9, 3 * 3600.0)
    assert told == (
        "2 of 9 experiments done, 1 failed, 30% of the training, about 3 h left (a-s0: sampler 40%)"
    )
    assert line(Progress(9, 0, {}, 100.0, 10.0, 100.0), 9, None) == (
        "9 of 9 experiments done, 100% of the training"
    )


def test_time_left_is_by_what_was_trained_here(monkeypatch):
    """What an earlier command trained tells nothing of the pace."""
    now = [100.0]
    monkeypatch.setattr("stages.study.run.time.monotonic", lambda: now[0])
    pace = Pace()
    assert pace.left(Progress(0, 0, {}, 50.0, 0.0, 100.0)) is None
    now[0] += 20
    assert pace.left(Progress(0, 0, {}, 60.0, 10.0, 100.0)) == pytest.approx(40 * 20 / 10)
    now[0] += 30  # another stage runs
    assert pace.left(Progress(0, 0, {}, 60.0, 10.0, 100.0)) == pytest.approx(50)
    now[0] += 60  # longer than was thought
    assert pace.left(Progress(0, 0, {}, 60.0, 10.0, 100.0)) is None
    assert pace.left(Progress(1, 0, {}, 100.0, 50.0, 100.0)) is None


@pytest.fixture
def job(tmp_path, monkeypatch) -> Job:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    trainings = {"sampler": Training("shared", 10, 100), "pretrain@sepp-0": Training("own", 5, 100)}
    return Job("a", "c" * 40, {"params.yaml": "x: 1\n"}, {}, [], None, trainings)


def test_what_was_trained_before_tells_nothing_of_the_pace(job):
    """Where a killed training goes on, where another command is at one, and what DVC has."""
    before: dict[str, float] = {}

    def at(*lines: str) -> tuple[float, float]:
        with Path("log").open("a") as log:
            follow(lines, job, claim, log)
        seen = progress([job], before)
        return seen.done, seen.trained

    claim = Claim.take("a", job.trainings)
    assert at("Running stage 'sampler':\n") == (0, 0)
    assert at("resuming from x\n") == (0, 0)
    assert at("Running stage 'sampler':\n", "resuming from x\n", "a (90 %)\n") == (900, 0)
    assert at("Running stage 'sampler':\n", "resuming from x\n", "a (90 %)\n", "a (95 %)\n") == (
        pytest.approx(950), pytest.approx(50)
    )  # fmt: skip
    claim.passed("sampler", RAN)
    assert at() == (1000, pytest.approx(100))
    assert at("Running stage 'pretrain@sepp-0':\n", "a (20 %)\n") == (1100, pytest.approx(200))
    another = progress([job], {})  # by a command that has just begun
    assert (another.done, another.trained) == (1100, 0)
    claim.passed("pretrain@sepp-0", CACHED)
    assert at() == (1500, pytest.approx(100))


def test_leaving_is_for_what_runs_elsewhere_not_for_what_waits(job, monkeypatch):
    """Two experiments with one sampler: the second is nobody's, but blocked until that is done."""
    second = dataclasses.replace(job, name="b", trainings={"sampler": job.trainings["sampler"]})
    ran: list[str] = []
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(worker, "run", lambda job, _: ran.append(job.name))
    monkeypatch.setattr(worker, "finished", lambda jobs: {x.name for x in jobs} & {*ran})
    claim = Claim.take("a", job.trainings)
    working = threading.Thread(target=worker.work, args=[[job, second], True], daemon=True)
    working.start()
    working.join(0.5)
    assert working.is_alive()
    assert ran == []
    claim.passed("sampler", RAN)
    working.join(10)
    assert not working.is_alive()  # though the first still runs
    assert ran == ["b"]


@pytest.mark.parametrize("where", ["prepare", "follow"])
def test_a_full_disk_is_a_reason_and_leaves_nothing_behind(job, where, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr(worker, "clone", lambda *_: None)
    monkeypatch.setattr(worker, where, full)
    worker.run(job, Claim.take("a", {}))
    assert "No space left on device: 'x' (.dvc/tmp/studies/logs/a.log)" in job.failure.read_text()
    assert not job.now.exists()
    assert not any(job.work.iterdir())


def test_clones_of_killed_experiments_are_removed_and_no_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    killed, lives = (Path(f".dvc/tmp/studies/work/{name}/clone") for name in ("killed", "lives"))
    for clone in (killed, lives):
        clone.mkdir(parents=True)
    claim = Claim.take("lives", {})
    worker.tidy()
    assert claim
    assert not killed.exists()
    assert lives.exists()


def test_a_worker_that_does_not_start_is_told(job, monkeypatch):
    """Also where what it is to do is too long for its pipe to hold."""
    monkeypatch.setattr(sys, "executable", "false")
    long = dataclasses.replace(job, params={"params.yaml": "x" * 2**20})
    told: list[str] = []
    ended = run_jobs([long], 1, False, told.append)
    assert "a worker failed, as it says above" in told
    assert ended == ({}, [], ["a"])


def test_a_failure_has_the_stages_own_line():
    log = (
        "Running stage 'sampler':\nstep 1\nError: params.yaml: x: wrong\n"
        "ERROR: failed to reproduce 'sampler'\n"
    )
    assert reason(log) == "params.yaml: x: wrong"
    assert reason("a\nERROR: no lock\n\n") == "no lock"
    assert reason("a\nlast\n \n") == "last"
    assert reason("") == "no reason was given"


def test_a_job_is_the_same_after_its_way_to_a_worker():
    trainings = {"sampler": Training("key", 3, None)}
    job = Job("a", "c" * 40, {"params.yaml": "x: 1\n"}, {"f": {}}, [], None, trainings)
    assert Job.load(job.dump()) == job
    assert job.ref == f"refs/exps/cc/{'c' * 38}/a"


def test_a_worker_ends_when_who_started_it_does():
    """However that ended: the pipe to it closes."""
    code = (
        "import os, subprocess, sys, threading\n"
        "from stages.study.worker import _end_with\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "_end_with(sys.stdin.fileno())\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    child = int(worker.stdout.readline())
    assert Path(f"/proc/{child}").exists() or not Path("/proc").exists()
    worker.stdin.close()
    assert worker.wait(timeout=30) == -9
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"  # what it started, too
