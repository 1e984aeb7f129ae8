"""Who runs what: locks in `.dvc/tmp/studies`, which die with the process that holds them.

A worker claims an experiment together with those of its trainings that nobody has finished yet, so
that no two run at once which would train the same; each training is free again once it is done, and
the experiment at its end. Workers agree through these files alone, be they of one `sepp study` or
of several, on one machine or on all that share the checkout's disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from stages.common.locks import held
from stages.study.trainings import Training

FOLDER = Path(".dvc/tmp/studies")  # git and DVC ignore it
RAN, CACHED = "ran", "cached"


def experiment_lock(name: str) -> Path:
    return FOLDER / "locks" / f"{name}.lock"


def training_lock(key: str) -> Path:
    return FOLDER / "locks" / f"{key}.lock"


def mark_of(key: str) -> Path:
    """The file that says that a training is done, and whether it ran or DVC had it.

    It spares a lock and an estimate, and decides nothing: DVC runs what its cache has not, such as
    what `dvc gc` removed.
    """
    return FOLDER / "trained" / key


def trained(key: str) -> str | None:
    """Whether a training RAN or was CACHED; None if neither yet."""
    try:
        return mark_of(key).read_text()
    except FileNotFoundError:
        return None


def running(name: str) -> bool:
    """Whether a worker that lives has claimed the experiment."""
    return experiment_lock(name).exists() and held(experiment_lock(name))


class Claim:
    """An experiment that is this process's to run."""

    def __init__(self, locks: dict[str, FileLock], trainings: Mapping[str, Training]) -> None:
        self._locks = locks  # by stage; that of the experiment by ""
        self._trainings = trainings

    @classmethod
    def take(cls, name: str, trainings: Mapping[str, Training]) -> Claim | None:
        """The experiment, if neither it nor a training of it is another's at the moment.

        `trainings` are its own, by the name of their stage.
        """
        wanted = {"": experiment_lock(name)}
        for stage, training in trainings.items():
            if trained(training.key) is None:
                wanted[stage] = training_lock(training.key)
        locks: dict[str, FileLock] = {}
        (FOLDER / "locks").mkdir(parents=True, exist_ok=True)
        for stage, path in wanted.items():
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                cls(locks, trainings).release()
                return None
            locks[stage] = lock
        return cls(locks, trainings)

    def begins(self, stage: str) -> None:
        """DVC runs a stage: a mark that it is done is out of date, and others are to wait again."""
        if stage not in self._trainings or stage in self._locks:
            return
        key = self._trainings[stage].key
        mark_of(key).unlink(missing_ok=True)
        lock = FileLock(training_lock(key))
        with contextlib.suppress(Timeout):  # another is at it, too: its state has a lock of its own
            lock.acquire(timeout=0)
            self._locks[stage] = lock

    def passed(self, stage: str, how: str) -> None:
        """DVC has the outcome of a stage; others may need it."""
        if stage not in self._trainings:
            return
        mark = mark_of(self._trainings[stage].key)
        if not mark.exists():
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(how)
        if lock := self._locks.pop(stage, None):
            lock.release()

    def release(self) -> None:
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()
