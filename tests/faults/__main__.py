"""`python -m tests.faults`: tries each fault, prints a table, exit code 1 where a promise broke."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded; networks here are tiny

from tests.faults import checkouts, damage, disk, edits, kills, signals  # noqa: F401
from tests.faults.bench import Bench
from tests.faults.cases import CASES, Outcome, table

KEPT = "Work below it, and keep the small project there for a next time with the same code."


@click.command()
@click.option("--kills", "count", type=click.IntRange(1), help="Of each stage. [default: 20]")
@click.option("--quick", is_flag=True, help="One method, and three kills of each stage.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random moments.")
@click.option(
    "--only", metavar="TEXT", multiple=True, help="Cases with this, or that, in the name."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="For the table.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help=KEPT)
def main(
    count: int | None,
    quick: bool,
    seed: int,
    only: tuple[str, ...],
    out: Path | None,
    folder: Path | None,
) -> None:
    """Try what may go wrong on a small project in a temporary folder."""
    chosen = [one for one in CASES if any(text in one.name for text in only or [""])]
    chosen = [one for one in chosen if one.quick or not quick]
    # What a shell starts in the background ignores Ctrl-C, and so would all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    outcomes: list[Outcome] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sepp-faults-", dir=folder) as made:
        bench = Bench(Path(made), count or (kills.FEW if quick else 20), seed, folder)
        for one in chosen:
            before = time.monotonic()
            outcomes.append(one.run(bench))
            seconds = time.monotonic() - before
            click.echo(f"{table(outcomes[-1:]).splitlines()[-1]} {seconds:.0f} s", err=True)
    text = table(outcomes)
    click.echo(text)
    click.echo(f"{len(outcomes)} cases in {(time.monotonic() - began) / 60:.1f} minutes", err=True)
    if out:
        out.write_text(text + "\n")
    sys.exit(any(outcome.ok is False for outcome in outcomes))


if __name__ == "__main__":
    main()
