"""Run a table of experiments, such as one of the paper's, and set it beside the paper's numbers."""

from __future__ import annotations

import click

from stages.common.command import command
from stages.common.errors import SeppError
from stages.common.plugins import plugins


class Seeds(click.ParamType):
    name = "N,N,…"

    def convert(self, value, param, context) -> list[int]:
        try:
            return list(dict.fromkeys(int(part) for part in value.split(",")))
        except ValueError:
            self.fail(f"{value!r}: give whole numbers, such as 0,1,2", param, context)


@command
@click.argument("name", required=False)
@click.option("--list", "listing", is_flag=True, help="What studies there are, and what they cost.")
@click.option("--dry", is_flag=True, help="Tell what would run, and how long it may take.")
@click.option(
    "--show", is_flag=True, help="Write reports/studies/NAME.md, .csv and .html; run nothing."
)
@click.option(
    "--scale",
    type=float,
    help="A rehearsal: so much of the epochs and images, a small network, one seed; e.g. 0.02.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Experiments at a time.",
)
@click.option("--seeds", type=Seeds(), help="Others than the study's.")
@click.option("--preset", help="Ask the same question on another preset, if the study can.")
@click.option(
    "--data", type=click.Choice(plugins("datasets")), help="Use the recipe on other data."
)
@click.option(
    "--leave", is_flag=True, help="End when all that is left runs elsewhere; else wait for it."
)
def main(
    name: str | None,
    listing: bool,
    dry: bool,
    show: bool,
    scale: float | None,
    jobs: int,
    seeds: list[int] | None,
    preset: str | None,
    data: str | None,
    leave: bool,
) -> None:
    """Run the study NAME, and write reports/studies/NAME.md, .csv and .html.

    NAME is one of `--list`, a file NAME.yaml in `studies/`, or the path of one. Each row and seed
    is an experiment of DVC, run in a copy of the last commit: what has run is not run again, and
    what was killed goes on when the same command is given again.
    """
    from stages.study import present

    if listing:
        return present.listing()
    if name is None:
        raise SeppError("which study? `sepp study --list` has those that there are")
    from stages.study.plan import Choice, plan
    from stages.study.spec import find

    stem, study = find(name)
    planned = plan(stem, study, Choice(scale, preset, data, seeds), name)
    if dry:
        present.dry(planned)
    elif show:
        present.show(planned)
    else:
        present.run(planned, jobs, leave)
