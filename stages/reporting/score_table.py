"""What `sepp scores` found, as a table on a terminal of 100 columns."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from stages.common.scores import PAPER, PER_IMAGE, RANKED, TABLE, Comparison, Score

BEST = 12  # scores that are printed, beside the paper's and the current one
WIDTH = 100  # columns


def print_scores(found: Comparison, current: Score | None) -> None:
    """`current` is the score of params.yaml."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    shown = found.among_best(current, BEST if found.judged else len(found.table))
    images = f"{found.about['k']:,} images"
    if found.judged:
        answers = found.about.get("answers")
        right = f"Right pairs, by {answers:,} judged ones" if answers else "Pairs with equal labels"
        console.print(
            f"{right}, in %, at so many pairs an image, of {images}{_by_chance(found)}. Best first "
            "at 1."
        )
    else:
        console.print(
            f"{images} without labels, so there is no accuracy: nothing here tells which pairs are "
            f"right. Common: how many of the pairs by {next(iter(found.table))} a score finds too, "
            "in %. That is agreement, and no accuracy."
        )
    console.print(_table(found, shown, current))
    hidden = len(found.table) - len(shown)
    about = {"95 %": "the interval"} if found.judged else {}
    about |= {"covered": "images in any pair, in %", "cut": "the lowest similarity"}
    columns = "; ".join(f"{name}: {meaning}" for name, meaning in about.items())
    console.print(
        f"At 1 pair an image, {columns}, which means another thing by each score."
        f"{f' {hidden} scores are not shown.' if hidden else ''} All numbers: {TABLE}."
    )
    own = [f"{cosine:.3f} ({layer})" for layer, cosine in found.about["own_views"].items()]
    if own:
        console.print(f"Mean cosine of an image and its own random views: {', '.join(own)}.")
    if found.judged:
        chosen = (
            "Judged pairs come from one score's, so others are known by what they share with it."
            if found.about.get("answers")
            else "Who chooses by labels, uses them."
        )
        console.print(f"Scores whose intervals overlap may be equally good. {chosen}")
    console.print("`dvc repro report` puts this on the page.")


def _table(found: Comparison, shown: list[tuple[int, Score]], current: Score | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False)
    left = ("", "layer", "transform")
    numbers = ["views", "selection"]
    numbers += [f"{n:g}" for n in PER_IMAGE] + ["95 %"] if found.judged else ["common"]
    for name in (*left, *numbers, "covered", "cut"):
        words = name in (*left, "selection")
        table.add_column(name, justify="left" if words else "right", no_wrap=True)
    for rank, score in shown:
        row = found.table[score][RANKED]
        first = f"{rank}" if found.judged else ""
        cells = [f"{first:>2} {_mark(score, current)}", score.layer, score.transform]
        cells += [str(score.views), score.selection]
        if found.judged:
            cells += [_percent(found.table[score][n]["accuracy"]) for n in PER_IMAGE]
            cells += [f"{_percent(row['accuracy_low'])}–{_percent(row['accuracy_high'])}"]
        else:
            cells += [_percent(row["agreement"])]
        cut = "–" if row["similarity"] is None else f"{row['similarity']:.3f}"
        table.add_row(*cells, _percent(row["images_covered"]), cut)
    return table


def _mark(score: Score, current: Score | None) -> str:
    marks = [name for name, other in (("paper", PAPER), ("now", current)) if score == other]
    return "+".join(marks)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _by_chance(found: Comparison) -> str:
    chance = found.about.get("chance")
    return "" if chance is None else f"; {100 * chance:.1f} by chance"
