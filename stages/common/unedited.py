"""Whether anything that a stage was started with is edited while it runs.

DVC looks at params, code and inputs when a stage has ended, and would record the edited ones for
what was made from the old. Trainings, which run for days, compare contents (`TrainingState`); this
is for the other stages: their params by value, files by time and size, so that it costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.common.errors import StaleRunError

Seen = dict[Path, tuple[int, int] | None]  # time of change in ns and bytes; None: not there


@contextmanager
def unedited(current: Callable[[], object], inputs: Iterable[Path]) -> Iterator[None]:
    """`current` reads the stage's params. Raises StaleRunError if these, one of `inputs` or a
    module that was loaded are others at the end of the block."""
    inputs = list(inputs)
    params, before = current(), _look([*inputs, *_code()])
    yield
    edited = ["params.yaml"] * (current() != params)
    edited += [str(path) for path, seen in _look(before).items() if seen != before[path]]
    if edited:
        raise StaleRunError(
            f"{', '.join(edited[:3])}: edited while this ran; its result belongs to what was there "
            "before and is not recorded: `dvc repro` makes it anew"
        )


def _code() -> list[Path]:
    """Files of the modules of ours that are loaded."""
    loaded = (m for name, m in list(sys.modules.items()) if name.startswith("stages."))
    return [Path(module.__file__) for module in loaded if getattr(module, "__file__", None)]


def _look(paths: Iterable[Path]) -> Seen:
    """At files, and at all those in folders."""
    files = [f for path in paths for f in (path.rglob("*") if path.is_dir() else [path])]
    return {file: _status(file) for file in files if not file.is_dir()}


def _status(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
