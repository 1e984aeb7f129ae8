"""A full disk, at whatever a stage writes: a small file system in memory is filled up."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.bench import STAGES, Bench, bits, clear
from tests.faults.cases import Skipped, Told, case
from tests.faults.running import end, error_line, finish, said, start

SIZE = 64 * 2**20  # bytes
FREE = (0, *(4**i for i in range(6, 13)))  # bytes, 4 KiB to 16 MiB


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """`folder` as a file system of its own."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "sepp-faults", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        raise Skipped("there is no `mount` here") from None
    if done.returncode:
        raise Skipped(f"mounting a tmpfs needs root ({done.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def leave(folder: Path, free: int) -> None:
    """Fill the disk but for so many bytes."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    status = os.statvfs(folder)
    fill = status.f_bavail * status.f_frsize - free
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, fill)


def filled(bench: Bench, stage: str) -> Told:
    """A training with states saved, which are what is full first, and without."""
    with small_disk(bench.folder / f"disk-{stage}") as folder:
        bench.results("", into=folder)
        log = folder / "log.txt"
        log.symlink_to(bench.folder / f"disk-{stage}.txt")  # which is not on that disk
        finish(folder, stage)
        whole = bits(folder, stage)
        lines = [line for pause in ("0", "3600") for line in fill(folder, stage, whole, pause)]
        (folder / "ballast").unlink()
        finish(folder, stage)
        assert bits(folder, stage) == whole, "other bits once there is space"
    hit = {re.sub(r"[0-9a-f]{24}", "…", line.split(": ")[1]) for line in lines}
    named = ", ".join(f"`{name}`" for name in sorted(hit))
    return Told(len(lines), f"one line, that names {named}; then the same bits")


def fill(folder: Path, stage: str, whole: dict[str, str], pause: str) -> Iterator[str]:
    """What the stage says, with more and more space, until there is enough for it."""

    def before() -> None:
        os.environ["SEPP_CHECKPOINT_SECONDS"] = pause

    for free in FREE:
        clear(folder, stage)
        leave(folder, free)
        code = end(start(folder, stage, before))
        now = bits(folder, stage)
        assert all(whole[name] == digest for name, digest in now.items()), "half-written"
        if code == 0:
            assert now == whole, "other bits"
            return
        assert code == 1, said(folder)
        line = error_line(said(folder), folder)
        assert "no space left on the device" in line, line
        yield line
    raise AssertionError(f"{FREE[-1]} bytes are not enough: {said(folder)}")


for _stage in STAGES:
    case(f"disk full, {_stage}", quick=_stage == "combine", stage=_stage)(filled)
