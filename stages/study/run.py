"""Run the experiments of a study in several workers, and tell how far they are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from stages.common import env
from stages.recipe.duration import spoken
from stages.study import claims
from stages.study.job import Job, finished
from stages.study.trainings import Training, distinct
from stages.study.worker import tidy

LOOK_SECONDS = 1.0
Tell = Callable[[str], None]


class Progress(NamedTuple):
    finished: int  # experiments
    failed: int
    running: dict[str, str]  # what each is at
    done: float  # of `total`, in rows that are trained on, or in epochs
    trained: float  # of `done`, what has been trained since this command began
    total: float


class Ended(NamedTuple):
    """What has not run of the experiments, by name."""

    failed: dict[str, str]  # and why
    elsewhere: list[str]  # that others run
    left: list[str]  # that nobody runs: a worker was killed


def run_jobs(jobs: Sequence[Job], workers: int, leave: bool, tell: Tell) -> Ended:
    """Run `jobs` to their ends in so many workers.

    `tell` gets a line at each change, and every SEPP_LOG_SECONDS. Where this process ends first,
    its workers do so, too.
    """
    if not jobs:
        return Ended({}, [], [])
    tidy()
    for job in jobs:
        job.failure.unlink(missing_ok=True)  # of an earlier command: this one tries again
    before: dict[str, float] = {}
    task = json.dumps({"jobs": [job.dump() for job in jobs], "leave": leave})
    pace, told, last = Pace(), float("-inf"), None
    progress(jobs, before)
    running = [_start(task) for _ in range(min(workers, len(jobs)))]
    try:
        alive = running
        while alive:
            at = progress(jobs, before)
            change = (at.finished, at.failed, tuple(at.running))
            if change != last or time.monotonic() - told >= env.log_seconds():
                tell(line(at, len(jobs), pace.left(at)))
                last, told = change, time.monotonic()
            time.sleep(LOOK_SECONDS)
            ended = [worker for worker in alive if worker.poll() is not None]
            _bury(ended, tell)
            alive = [worker for worker in alive if worker not in ended]
    finally:
        for worker in running:
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.close()  # whereupon it ends, and what it has started
    tell(line(progress(jobs, before), len(jobs), None))
    # In this order: what ends in between is done, or left to who asks again.
    elsewhere = [job.name for job in jobs if claims.running(job.name)]
    done = finished(jobs)
    missing = [job for job in jobs if job.name not in done]
    failed = {job.name: job.failure.read_text() for job in missing if job.failure.exists()}
    rest = [job.name for job in missing if job.name not in failed]
    return Ended(
        failed,
        [name for name in rest if name in elsewhere],
        [name for name in rest if name not in elsewhere],
    )


def _start(task: str) -> subprocess.Popen:
    worker = subprocess.Popen(
        [sys.executable, "-m", "stages.study.worker"],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, which can be ended as one
    )
    with contextlib.suppress(BrokenPipeError):  # it has ended: `_bury` tells so
        worker.stdin.write(task + "\n")
        worker.stdin.flush()
    return worker


def _bury(ended: Collection[subprocess.Popen], tell: Tell) -> None:
    """A worker that was killed may have left DVC and a training behind, which nobody waits for."""
    for worker in ended:
        if worker.returncode:
            killed = worker.returncode < 0
            how = (
                f"was killed (signal {-worker.returncode})"
                if killed
                else "failed, as it says above"
            )
            tell(f"a worker {how}")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)


def progress(jobs: Sequence[Job], before: dict[str, float]) -> Progress:
    """What has been done of `jobs`.

    `before` keeps from look to look which share of each training was done when it was first seen,
    or resumed: that tells nothing of the pace.
    """
    over = finished(jobs)
    failed = {job.name for job in jobs if job.failure.exists()} - over
    every = distinct(t for job in jobs for t in job.trainings.values())
    how = {t.key: claims.trained(t.key) for t in every}
    shares = {key: 1.0 for key in how if how[key]}
    before |= {key: 1.0 for key in how if how[key] == claims.CACHED}
    running: dict[str, str] = {}
    for job in jobs:
        if job.name in over | failed or not job.now.exists() or not claims.running(job.name):
            continue
        now = _at(job)
        stage, share = now.get("stage", "starts"), now.get("share", 0)
        running[job.name] = f"{stage} {share:.0%}" if share else stage
        if (training := job.trainings.get(stage)) and training.key not in shares:
            shares[training.key] = share
            before[training.key] = max(before.get(training.key, share), now["before"])
    unit = weigher(every)
    done = trained = 0.0
    for training in every:
        share = shares.get(training.key, 0.0)
        done += share * unit(training)
        trained += max(0.0, share - before.setdefault(training.key, share)) * unit(training)
    return Progress(len(over), len(failed), running, done, trained, sum(map(unit, every)))


def _at(job: Job) -> dict:
    try:
        return json.loads(job.now.read_text())
    except FileNotFoundError:  # it has ended since
        return {}


def weigher(every: Iterable[Training]) -> Callable[[Training], float]:
    """Rows of a training, or where these are not known of all, its epochs."""
    known = all(training.rows is not None for training in every)
    return lambda training: training.rows if known else training.epochs


class Pace:
    """How much time is left, at the pace of the trainings so far, which all else is part of."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._trained, self._end = 0.0, None

    def left(self, at: Progress) -> float | None:
        """Seconds; None where it cannot be told: before anything was trained here, and where what
        is left takes longer than it was to."""
        now = time.monotonic()
        if at.trained > self._trained:
            self._trained = at.trained
            self._end = now + (at.total - at.done) * (now - self._began) / at.trained
        left = 0.0 if self._end is None or at.done >= at.total else self._end - now
        return left if left > 0 else None


def line(at: Progress, experiments: int, left: float | None) -> str:
    """How far it is, how long it will take, and what runs."""
    parts = [f"{at.finished} of {experiments} experiments done"]
    if at.failed:
        parts.append(f"{at.failed} failed")
    if at.total:
        parts.append(f"{at.done / at.total:.0%} of the training")
    if left is not None:
        parts.append(f"about {spoken(left)} left")
    runs = "; ".join(f"{name}: {what}" for name, what in at.running.items())
    return ", ".join(parts) + (f" ({runs})" if runs else "")
