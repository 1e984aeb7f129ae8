"""Remove the states of all unfinished trainings; they will start from their first epoch."""

from __future__ import annotations

from pathlib import Path

import click

from stages.common import artifacts, env
from stages.common.command import command
from stages.common.locks import held


@command
def main() -> None:
    """Remove the states of all unfinished trainings; they will start from their first epoch.

    Those of trainings that run at the moment stay.
    """
    states = unfinished()
    for folder in states:
        artifacts.remove(folder)
    click.echo(f"removed {len(states)} unfinished training(s) from {env.state_dir()}")


def unfinished() -> list[Path]:
    """Folders of trainings that are unfinished and do not run at the moment."""
    found = sorted(f for f in env.state_dir().glob("*/*") if f.is_dir() and any(f.iterdir()))
    return [folder for folder in found if not held(Path(f"{folder}.lock"))]
