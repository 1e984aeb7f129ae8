"""Exceptions for a user's mistakes. Each message is one line: the value, the file, the remedy.

`common.command` turns any `SeppError` into that line and exit code 1; a traceback always means a
defect of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class SeppError(Exception):
    """Base of all errors that a user can mend; ``str(error)`` is the whole message."""


class ParamError(SeppError):
    """A parameter is missing, unknown, or out of its range."""

    def __init__(self, file: Path | str, key: str, problem: str) -> None:
        super().__init__(f"{file}: {key}: {problem}")


class DataError(SeppError):
    """The images or labels that a data set promises are not there, or do not read."""


class BrokenImage(DataError):
    """One image does not decode, or has some other `problem`: `where` it is, and the `reason`."""

    def __init__(
        self,
        where: str,
        reason: object = None,
        problem: str = "image does not decode",
        remedy: str = "mend or remove it",
    ) -> None:
        if reason is None:  # made anew of its message, by pickle or for a loader's worker
            super().__init__(where)
            return
        self.where, self.reason = where, " ".join(str(reason).split())
        super().__init__(f"{where}: {problem} ({self.reason}); {remedy}")


class BrokenImages(DataError):
    """All images that do not decode; `listed` is the file that has them all."""

    def __init__(self, broken: Sequence[BrokenImage], listed: Path) -> None:
        noun = "image does not decode" if len(broken) == 1 else "images do not decode"
        super().__init__(
            f"{len(broken):,} {noun}: {some(broken)}; listed in {listed}; mend or remove "
            "what is broken, or set data.skip_broken: true to leave it out"
        )


def some(broken: Sequence[BrokenImage], limit: int = 20) -> str:
    """The first few and their reasons, and how many more there are."""
    told = ", ".join(f"{one.where} ({one.reason})" for one in broken[:limit])
    return told + (f" and {len(broken) - limit:,} more" if len(broken) > limit else "")


class ArtifactError(SeppError):
    """A file that an earlier stage wrote is missing, or is not what the schema says."""

    def __init__(self, path: Path | str, problem: str, stage: str) -> None:
        super().__init__(f"{path}: {problem}; run `dvc repro {stage}` to make it again")


class EmbeddingError(SeppError):
    """Embeddings that have no cosine similarity: NaN, infinite, or of zero norm."""


class CheckpointError(SeppError):
    """Weights that do not fit the network they are meant for."""


class StaleRunError(SeppError):
    """Params, code or data were edited while a training ran on the old ones."""
