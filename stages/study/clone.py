"""Copies of the checkout in which experiments run, and the commands that make them."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from stages.common import env


def clone(folder: Path, commit: str, given: Sequence[str]) -> None:
    """A copy of `commit` in an empty `folder`, with this checkout's settings of DVC, and with
    `given` files and folders, which may lie in the checkout without being in git.

    Raises CalledProcessError.
    """
    git(".", "clone", "-q", "--shared", "--no-checkout", ".", str(folder))
    git(folder, "checkout", "-q", "--detach", commit)
    for key in ("user.name", "user.email"):
        own = subprocess.run(["git", "config", key], capture_output=True, text=True).stdout.strip()
        if own:
            git(folder, "config", key, own)
    local = Path(".dvc/config.local")
    if local.exists():
        (folder / local).write_bytes(local.read_bytes())
    dvc(folder, "config", "--local", "cache.dir", cache_dir())
    forget_lost(folder / "dvc.lock", Path(cache_dir()))
    # Stages look below DVC_ROOT, which `dvc exp run` sets to the clone, whatever it was.
    for path in (Path(name).expanduser() for name in given):
        if path.exists() and not (folder / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(path.absolute())


def forget_lost(lock: Path, cache: Path) -> None:
    """Take from `lock` the stages whose folders the cache does not hold, as in a fresh clone.

    With them, DVC 3.67 failed to load the old folder of a round's start, of which the round needs a
    part, when both stages had just come from the run cache.
    """
    if not lock.exists():
        return
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False  # as DVC writes it, which leaves alone what it does not rerun
    yaml.sort_base_mapping_type_on_output = False
    locked = yaml.load(lock) or {}
    stages = locked.get("stages") or {}
    locked["stages"] = {name: one for name, one in stages.items() if _held(one, cache)}
    if len(locked["stages"]) < len(stages):
        with lock.open("w") as stream:
            yaml.dump(locked, stream)


def _held(stage: dict, cache: Path) -> bool:
    digests = [str(out.get("md5")) for out in stage.get("outs", [])]
    folders = [md5 for md5 in digests if md5.endswith(".dir")]
    return all((cache / "files/md5" / md5[:2] / md5[2:]).exists() for md5 in folders)


@functools.cache
def cache_dir() -> str:
    """Of the checkout's DVC."""
    return str(Path(dvc(".", "cache", "dir")).absolute())


def environment(folder: Path) -> dict[str, str]:
    """For DVC in a clone: this checkout's data and unfinished trainings, and this Python."""
    here = {
        "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site"),  # else it outlives the clone
        "SEPP_DATA_ROOT": str(env.data_root()),
        "SEPP_STATE_DIR": str(env.state_dir()),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **here}


def git(folder: Path | str, *arguments: str) -> str:
    return _output(["git", "-C", str(folder), *arguments])


def dvc(folder: Path | str, *arguments: str) -> str:
    return _output([sys.executable, "-m", "dvc", "--cd", str(folder), *arguments])


def _output(command: list[str]) -> str:
    # Not of blanks on the left, which `git status --porcelain` begins with.
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip()
