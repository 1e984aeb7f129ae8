"""State of an unfinished training, kept where neither DVC nor a new checkout removes it.

DVC deletes a stage's outs before it runs the stage, so a killed training cannot resume from them.
It resumes from ``<state dir>/<stage>/<fingerprint>/`` instead. The fingerprint covers all that
decides the result (params, code, input files), so a state is never taken up by another experiment.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from stages.common import env
from stages.common.artifacts import remove, write_json
from stages.common.closure import ROOT, imported_files
from stages.common.cost import Cost, told
from stages.common.errors import SeppError, StaleRunError

log = logging.getLogger(__name__)
T = TypeVar("T")


def fingerprint(settings: object, files: Iterable[Path]) -> str:
    """Hex digest of `settings` (JSON-able) and of the contents of `files`, folders included.

    Raises SeppError if one of them is missing.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in sorted(files):
        if not path.exists():
            raise SeppError(f"{path}: is missing; run `dvc repro` to make it again")
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            digest.update(file.name.encode())  # not its folder: `dvc exp run --temp` runs elsewhere
            with file.open("rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
    return digest.hexdigest()


def run_fingerprint(modules: Iterable[str], settings: object, inputs: Iterable[Path]) -> str:
    """Digest of all that decides a training's result: the code of `modules` and all that they
    import, its params, and the files and folders that it reads."""
    code = imported_files(*modules)
    return fingerprint(settings, [*(ROOT / file for file in code), *inputs])


class Part:
    """Where a training keeps its checkpoint while it is unfinished.

    Attributes:
        folder: of its own; what else is to survive a kill may be kept in it, too.
        checkpoint: the file.
        cost: of all trainings of the result, where it is measured.
    """

    def __init__(self, folder: Path, cost: Cost | None = None) -> None:
        self.folder = folder
        self.checkpoint = folder / "last.ckpt"
        self.cost = cost

    def saved(self) -> None:
        """A checkpoint has been written, which a later session goes on from."""
        if self.cost:
            self.cost.keep()

    def part(self, name: str) -> Part:
        """The place of one of several trainings that make up a result, one after the other."""
        part = Part(self.folder / name, self.cost)
        if env.is_first():
            part.folder.mkdir(parents=True, exist_ok=True)
        if part.checkpoint.exists():
            log.info("resuming from %s", part.checkpoint)
        return part

    def once(self, make: Callable[[], T]) -> T:
        """What `make` returns, JSON-able: from a run before this one, if it got that far.

        `make` is the whole of this part. Its result is kept as a whole or not at all.
        """
        kept = self.folder / "result.json"
        if (result := told(kept)) is not None:
            log.info("done before: %s", kept)
            return result
        result = make()
        if env.is_first():
            write_json(kept, result)
            self.checkpoint.unlink(missing_ok=True)
        self.saved()
        return result


class TrainingState(Part):
    """The checkpoint of one training, locked while the training runs. Use as a context manager.

    Args:
        stage: name of the stage; the folder that its states share.
        current: computes the fingerprint from what is on disk at the moment.
    """

    def __init__(self, stage: str, current: Callable[[], str]) -> None:
        self._current = current
        self.fingerprint = current()
        super().__init__(env.state_dir() / stage / self.fingerprint[:24])
        self._lock = FileLock(f"{self.folder}.lock")

    def __enter__(self) -> TrainingState:
        if env.is_first():  # the other ranks of the same training wait in its first collective
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                log.warning("another process runs this very training; waiting for it to end")
                self._lock.acquire()
            self.folder.mkdir(
                parents=True, exist_ok=True
            )  # the other may have finished and cleared
        if self.checkpoint.exists():
            log.info("resuming from %s", self.checkpoint)
        self.cost = Cost(self.folder / "cost.json")
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def check(self) -> None:
        """Refuse a result whose params, code or inputs were edited while it was being made.

        Raises:
            StaleRunError: DVC would record the edited values for the old result.
        """
        if self._current() != self.fingerprint:
            raise StaleRunError(
                "params.yaml, code or data were edited while this training ran; its result belongs "
                "to the old values and is not recorded. `dvc repro` trains with the new ones; "
                f"with the edit undone it takes up the last state saved in {self.folder}"
            )

    def clear(self) -> None:
        """The result is recorded: the state is of no more use."""
        if env.is_first():
            remove(self.folder)
