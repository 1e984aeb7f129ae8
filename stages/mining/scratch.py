"""A folder for the files of one search, which nothing else uses, and which goes when it ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from stages.common.errors import SeppError


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """`folder`, empty; it is gone afterwards, whatever happened, or else with the next run.

    Its name is that of the command which uses it, behind a dot. Raises SeppError if another process
    does at the moment.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{folder}.lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)  # a file still mapped may resist on NFS
                lock.unlink(missing_ok=True)  # while it is held: FileLock sees that it is gone
    except Timeout:
        name = folder.name.removeprefix(".")
        raise SeppError(f"{folder}: another {name} runs here: wait for its end") from None
