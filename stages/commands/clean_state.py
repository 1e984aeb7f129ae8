"""Remove the states of all unfinished trainings; they will start from their first epoch."""

from __future__ import annotations

from pathlib import Path

import click

from stages.common import artifacts, env
from stages.common.command import command
from stages.common.locks import used
from stages.evaluation._outside import PREPARED


@command
def main() -> None:
    """Remove the states of all unfinished trainings; they will start from their first epoch.

    So are data sets that were prepared for evaluations. Those of trainings and evaluations that run
    at the moment stay.
    """
    states, sets = unfinished(), [folder for folder in _idle() if _is_set(folder)]
    for folder in states + sets:
        artifacts.remove(folder)
    click.echo(f"removed {len(states)} unfinished training(s) from {env.state_dir()}")
    if sets:
        click.echo(f"removed {len(sets)} data set(s) that were prepared for evaluations")


def unfinished() -> list[Path]:
    """Folders of trainings that are unfinished and do not run at the moment."""
    return [folder for folder in _idle() if not _is_set(folder)]


def _idle() -> list[Path]:
    """Folders of the state directory that hold something and that no process uses."""
    found = sorted(f for f in env.state_dir().glob("*/*") if f.is_dir() and any(f.iterdir()))
    return [folder for folder in found if not used(folder)]


def _is_set(folder: Path) -> bool:
    return folder.parent.name == PREPARED
