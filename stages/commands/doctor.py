"""Look for what commonly goes wrong in an installation or a checkout; exit 1 if anything does."""

from __future__ import annotations

import importlib.util
import subprocess
from importlib import metadata
from pathlib import Path

import click

from stages.commands.clean_state import unfinished
from stages.common import env
from stages.common.command import command
from stages.common.errors import SeppError
from stages.common.params import load_all
from stages.common.sections import BUNDLED


@command
def main() -> None:
    """Look for what commonly goes wrong in an installation or a checkout; exit 1 if anything does.

    Finds two FAISS wheels in one environment, a checkout that is not in git, a detached HEAD left
    by a killed `dvc exp run`, a data root that is not there, and unfinished trainings.
    """
    env.check_checkout()
    problems = [line for check in (_faiss, _repository, _head, _data) for line in check()]
    for line in problems:
        click.echo(f"problem: {line}")
    for state in unfinished():
        click.echo(
            f"note: unfinished training in {state}; dvc repro resumes it if its params stand"
        )
    if problems:
        raise SeppError(f"{len(problems)} problem(s) found")
    click.echo("no problems found")


def _faiss() -> list[str]:
    wheels = [n for n in ("faiss-cpu", "faiss-gpu") if _installed(n)]
    if len(wheels) == 2:
        return [
            "faiss-cpu and faiss-gpu are both installed and overwrite each other: "
            "pip uninstall -y faiss-cpu faiss-gpu, then `pip install -e .` "
            "(SEPP_FAISS=gpu for the GPU wheel)"
        ]
    if not wheels and importlib.util.find_spec("faiss") is None:
        return ["faiss is not installed: pip install -e ."]
    return []


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _head() -> list[str]:
    head = subprocess.run(["git", "symbolic-ref", "-q", "HEAD"], capture_output=True)
    inside = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True)
    if inside.returncode == 0 and head.returncode != 0:
        return [
            "git HEAD is detached, as a killed `dvc exp run` leaves it: unless one runs at the "
            "moment, `git checkout <your branch>` brings you back"
        ]
    return []


def _repository() -> list[str]:
    """DVC's own message for an unpacked archive names no remedy."""
    inside = subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True)
    local = Path(".dvc/config.local")
    if inside.returncode == 0 or (local.is_file() and "no_scm = true" in local.read_text()):
        return []
    return [
        "this is no git repository, in which DVC runs nothing: `git init` makes it one, or "
        "`dvc config --local core.no_scm true` lets `dvc repro` do without, but not `dvc exp run`"
    ]


def _data() -> list[str]:
    name = load_all(Path("params.yaml")).data.name
    if name not in BUNDLED and not env.data_root().is_dir():
        return [
            f"data.name is {name}, but {env.data_root()} is no folder: "
            "set SEPP_DATA_ROOT to where the images are"
        ]
    return []
