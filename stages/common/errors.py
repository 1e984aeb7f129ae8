"""Exceptions for a user's mistakes. Each message is one line: the value, the file, the remedy.

`common.command` turns any `SeppError` into that line and exit code 1; a traceback always means a
defect of ours.
"""

from __future__ import annotations

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
    """One image does not decode."""

    def __init__(self, where: str, reason: object) -> None:
        reason = " ".join(str(reason).split())
        super().__init__(
            f"{where}: image does not decode ({reason}); "
            "mend or remove it, or set data.skip_broken: true to leave such images out"
        )


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
