"""The `sepp` command: runs a stage, writes a preset, looks after the checkout."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from stages.common import env
from stages.common.plugins import plugins

STAGES = (
    "source",
    "prepare",
    "checkpoint",
    "sampler",
    "embed",
    "explore",
    "mine",
    "combine",
    "pretrain",
    "linear_eval",
    "evaluation_source",
    "evaluate",
    "report",
)
COMMANDS = {name.replace("_", "-"): name for name in plugins("commands")}


class Commands(click.Group):
    """A module for each stage and each command, which is loaded, with torch, when it is run."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*STAGES, *COMMANDS]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            return importlib.import_module(f"stages.commands.{COMMANDS[name]}").main
        return importlib.import_module(f"stages.{name}").main if name in STAGES else None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Stages, in the order of dvc repro; some only if needed"):
            formatter.write_dl([(name, _summary(f"{name}.py")) for name in STAGES])
        with formatter.section("Commands"):
            own = [(name, _summary(f"commands/{COMMANDS[name]}.py")) for name in COMMANDS]
            formatter.write_dl(own)
        with formatter.section("Environment variables (the machine, never the result)"):
            formatter.write_dl(list(env.VARIABLES.items()))


def _summary(file: str) -> str:
    """First line of a module's docstring, read without importing it."""
    text = (Path(__file__).parent / file).read_text()
    return text.split('"""')[1].strip().split("\n\n")[0].replace("\n", " ").split(". ")[0]


@click.group(cls=Commands, context_settings={"max_content_width": 100})
@click.version_option(package_name="sepp")
def main() -> None:
    """Semantic positive pairs for self-supervised learning.

    \b
    dvc repro                             the whole pipeline; only what changed runs
    dvc exp run -S sepp.min=0.96          an experiment with another threshold
    dvc metrics diff                      old and new numbers side by side
    sepp preset cifar10                   another data set and its recipe
    sepp preset auto --data imagefolder   a recipe for your own images, and what it takes
    """


if __name__ == "__main__":
    main()
