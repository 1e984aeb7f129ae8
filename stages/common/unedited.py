"""Whether anything that a stage was started with is edited while it runs.

DVC looks at params, code and inputs when a stage has ended, and would record the edited ones for
what was made from the old. Trainings, which run for days, compare contents (`TrainingState`); this
is for the other stages: params by value, code by content, and inputs by time and size, so that it
costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stages.common.closure import ROOT, imported_files
from stages.common.errors import StaleRunError


@contextmanager
def unedited(module: str, current: Callable[[], object], inputs: Iterable[Path]) -> Iterator[None]:
    """Raises StaleRunError if the stage's params, which `current` reads, one of `inputs` (files and
    folders), or the code of its `module` are others at the end of the block."""
    inputs, files = list(inputs), sorted(imported_files(module))
    params, seen, code = current(), _look(inputs), _content(files)
    yield
    edited = ["params.yaml"] * (current() != params)
    edited += _differ(seen, _look(inputs)) + _differ(code, _content(files))
    if edited:
        raise StaleRunError(
            f"{', '.join(edited[:3])}: edited while this ran; its result belongs to what was there "
            "before and is not recorded: `dvc repro` makes it anew"
        )


def _look(inputs: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """Time of change in ns, and bytes, of the files that are there, those in folders included."""
    found = {}
    for path in inputs:
        for file in path.rglob("*") if path.is_dir() else [path]:
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            if not file.is_dir():
                found[str(file)] = status.st_mtime_ns, status.st_size
    return found


def _content(files: Iterable[str]) -> dict[str, bytes]:
    paths = ((file, ROOT / file) for file in files)
    return {file: path.read_bytes() for file, path in paths if path.is_file()}


def _differ(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    names = sorted(before.keys() | after.keys())
    return [name for name in names if before.get(name) != after.get(name)]
