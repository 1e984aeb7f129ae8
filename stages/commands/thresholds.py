"""Propose the lowest sepp.min whose pairs are right often enough."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from stages.common.command import command, params_option
from stages.common.errors import SeppError
from stages.common.explored import Explored, read_explored
from stages.common.images import ImageStore
from stages.common.judged import LABELS, read_answers, resolve
from stages.common.params import load_all
from stages.common.sepp_sections import SeppMining
from stages.mining.thresholds import Judged, Option, best, by_bins, lowest, options

EXPLORED = Path("data/explored")
MANIFEST, IMAGES = Path("data/manifest.parquet"), Path("data/images.npy")
BESIDE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # accuracies that are shown for comparison
SCORE = ("transform", "shrinkage", "neighbours")


@command
@params_option
@click.option(
    "--accuracy",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Share of pairs that are to be right, at least.",
)
def main(params_file: Path, accuracy: float) -> None:
    """Propose the lowest sepp.min whose pairs, up to sepp.max, are right often enough.

    That is where the lower end of the accuracy's 95 % interval is at least what is asked for: by
    the labels of the images, or, where they have none, by the pairs that people have judged
    (data/pair_labels.csv; `sepp label` says how). Runs nothing: it reads what `explore` counted.
    """
    sepp = load_all(params_file).sepp
    explored = read_explored(EXPLORED)
    check(explored, sepp)
    judged = None if explored.known.any() else _judged(explored)
    found = options(explored, sepp.max, judged)
    if not found:
        raise SeppError(f"{EXPLORED}: has no pair up to sepp.max {sepp.max:g}: raise that")
    chosen, nearest = lowest(found, accuracy), best(found)
    by = "labels" if judged is None else f"{int(judged[1].sum()):,} answers"
    about = "" if explored.exact else "About, from a sample of the images. "
    if chosen is None:
        raise SeppError(
            f"no sepp.min gives pairs of which {accuracy:.0%} are right with 95 % confidence, by "
            f"{by}, up to sepp.max {sepp.max:g}; the best is {nearest.min:g}: {_words(nearest)}"
        )
    rows = {lowest(found, share) for share in (*BESIDE, accuracy)} - {None}
    show(sorted(rows), chosen, explored, f"{about}By {by}, up to sepp.max {sepp.max:g}")
    count = "" if sepp.pairs_per_image is None else "-S sepp.pairs_per_image=null "
    first = chosen.min <= explored.edges[0]
    lowest_counted = " (lower ones were not counted, and may do as well)" if first else ""
    click.echo(
        f"{accuracy:.0%} and more: dvc exp run {count}-S sepp.min={chosen.min:g}{lowest_counted}"
    )


def check(explored: Explored, sepp: SeppMining) -> None:
    """Raises SeppError if it was explored with another score."""
    for leaf in SCORE:
        was, now = explored.about[leaf], getattr(sepp, leaf)
        if was != now and not (leaf == "shrinkage" and sepp.transform != "whiten"):
            raise SeppError(
                f"{EXPLORED}: is of sepp.{leaf} {was}, which is {now} now: run `dvc repro explore`"
            )


def _judged(explored: Explored) -> Judged:
    put = explored.about["fingerprint"]  # answers on other pairs are no random sample of these
    answers = [answer for answer in read_answers() if answer.explored == put]
    judged = by_bins(explored, resolve(answers, ImageStore(MANIFEST, IMAGES)))
    if not judged[1].any():
        raise SeppError(
            f"{LABELS}: has no answers on the pairs in {EXPLORED}, and the images have no labels: "
            "judge some, `sepp label` says how"
        )
    return judged


def show(rows: list[Option], chosen: Option, explored: Explored, title: str) -> None:
    """The table of options, the chosen one marked."""
    images = explored.about["images"]
    table = Table(title=title, title_justify="left", title_style="", box=None, padding=(0, 2, 0, 0))
    for heading in ("sepp.min", "pairs", "an image", "images covered", "accuracy", "95 % interval"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row.min:g}",
            f"{row.pairs:,.0f}",
            f"{row.pairs / images:.2f}",
            f"{row.covered / images:.0%}",
            f"{row.accuracy:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            style="bold" if row == chosen else "",
        )
    Console(highlight=False).print(table)


def _words(option: Option) -> str:
    return (
        f"{option.pairs:,.0f} pairs, {option.accuracy:.1%} right (95 % interval {option.low:.1%} "
        f"to {option.high:.1%})"
    )
