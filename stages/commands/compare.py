"""Set experiments beside each other: params that differ, pairs, gains, steps; and a page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from stages.common import artifacts
from stages.common.command import command
from stages.common.errors import SeppError
from stages.comparison import experiments, revisions
from stages.reporting.freshness import stale

PAGE = Path("reports/compare.html")


@command
@click.argument("names", nargs=-1, metavar="[EXP]...")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=PAGE,
    show_default=True,
    help="The page, to be opened in a browser.",
)
def main(names: tuple[str, ...], output: Path) -> None:
    """Set experiments beside each other: a table here, and a page with charts.

    EXP is the name of an experiment of `dvc exp`, any git revision (HEAD, a branch, a commit), or
    `workspace`; one alone is set beside the workspace. Without any: all experiments, HEAD, and the
    workspace where it is another than these.
    """
    chosen, waiting = revisions.choose(names)
    on_disk = any(one.commit is None for one in chosen)
    with ThreadPoolExecutor(1) as pool:
        # DVC takes as long to tell as all else here does together.
        changed = pool.submit(lambda: stale() if on_disk else None)
        # matplotlib and SciPy load meanwhile.
        from stages.comparison.page import render
        from stages.comparison.rows import compare
        from stages.comparison.table import print_comparison

        found, without = experiments.load(chosen, changed.result)
    left_out = [*without, *waiting]
    if not found:
        told = ", ".join(f"{name} ({reason})" for name, reason in left_out)
        raise SeppError(f"there is nothing to compare: left out are {told}")
    rows = compare(found if names else experiments.merged(found), left_out, revisions.head())
    page = render(rows)
    with artifacts.named_output(output, "-o"), artifacts.atomic(output) as partial:
        partial.write_text(page, encoding="utf-8")
    print_comparison(rows, output)
