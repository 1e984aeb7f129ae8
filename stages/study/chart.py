"""What was gained in each row, beside the paper's gain; or, of pairs alone, how many are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stages.reporting.statistics import Gain
from stages.reporting.svg import COLOURS, to_svg
from stages.study.plan import Plan
from stages.study.table import GAINS, Line

ROW, MARGIN = 0.28, 0.9  # inches
TEXT = 11  # points
TITLES = {
    "linear": "Gain in linear top-1, points",
    "knn": "Gain in kNN top-1, points",
    "accuracy": "Right pairs, %",
}


class Point(NamedTuple):
    name: str
    ours: Gain | None
    paper: float | None


def gains_chart(plan: Plan, table: Sequence[Line]) -> str | None:
    """An `<svg>` with a line for each row and arm; None if there is nothing to draw."""
    for column in (*GAINS, "accuracy"):
        beside = not plan.moved  # gains on other data are none to be drawn on one axis with these
        found = [_point(line, column, beside) for line in table if column in line.cells]
        points = [one for one in found if one.ours or one.paper is not None]
        if points and (any(one.ours for one in points) or column != "knn"):
            title = TITLES[column]
            label = f"{title}, ours with 95 % intervals and the paper's; as in the table above."
            height = MARGIN + ROW * len(points)
            return to_svg(f"study-{column}", lambda f: _draw(f, title, points), height, label)  # noqa: B023
    return None


def _point(line: Line, column: str, beside: bool) -> Point:
    """Ours, and the paper's where that is to stand `beside` it."""
    cell = line.cells[column]
    named = [label for label in line.labels.values() if label != "any"]
    name = ", ".join([*named, *([line.arm] if line.arm not in (None, "sepp") else [])])
    if column in GAINS:
        return Point(name or line.arm or "", cell.gain, cell.paper_gain if beside else None)
    return Point(name or line.arm or "", cell.measured, cell.paper if beside else None)


def _draw(figure: Figure, title: str, points: Sequence[Point]) -> None:
    axes: Axes = figure.subplots()
    places = range(len(points))
    if any(one.ours for one in points) and "Gain" in title:
        axes.axvline(0, color=COLOURS["ink"], linewidth=1)
    for place, one in zip(places, points, strict=True):
        if one.paper is not None:
            axes.plot(
                one.paper, place, "D", color=COLOURS["ink"], markerfacecolor=COLOURS["panel"],
                markersize=6, label="paper",
            )  # fmt: skip
        if one.ours:
            if one.ours.low is not None:
                axes.hlines(place, one.ours.low, one.ours.high, COLOURS["sepp"], linewidth=1.8)
            axes.plot(one.ours.mean, place, "o", color=COLOURS["sepp"], markersize=7, label="ours")
    if any(one.paper is not None for one in points):
        handles, labels = axes.get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        figure.legend(once.values(), once.keys(), fontsize=TEXT, ncols=2, loc="outside lower right")
    axes.set_yticks(list(places), [one.name for one in points], fontsize=TEXT)
    axes.set_ylim(len(points) - 0.5, -0.5)  # the first row on top
    axes.grid(axis="x")
    axes.set_title(title, fontsize=TEXT)
    axes.tick_params(labelsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    if "Gain" in title:
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: f"{x:+g}".replace("-", "−") if x else "0")
        )
