"""Whether another process holds a lock file, or uses a folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout


def held(path: Path) -> bool:
    """Whether a process that lives holds the lock `path`."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def used(folder: Path) -> bool:
    """Whether a process that lives holds the lock beside `folder`, or any within it."""
    return held(Path(f"{folder}.lock")) or any(map(held, folder.glob("*.lock")))
