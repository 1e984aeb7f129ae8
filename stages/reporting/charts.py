"""The charts of the page, each as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, NullLocator

from stages.reporting.inputs import Rows, Runs
from stages.reporting.svg import COLOURS, DASHES, colour_of, dash_of, to_svg

FEW = 20  # judged pairs, below which an accuracy is drawn as a hollow point
LARGE = 12.5  # points, where names in the legend are what a chart is about


def threshold_chart(curve: Rows, low: float, high: float, chance: float | None = None) -> str:
    """Pairs, and their accuracy where it is known, per 0.01 of similarity; [low, high] shaded.

    `chance` is the accuracy of random pairs. Bins of few judged pairs are hollow.
    """
    known = [row for row in curve if row["accuracy"] is not None]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2 if known else 1, 1, sharex=True, squeeze=False)[:, 0]
        for axes in panels:
            axes.axvspan(low, high, color=COLOURS["chosen"], alpha=0.16, linewidth=0)
            for bound in (low, high):
                axes.axvline(bound, color=COLOURS["chosen"], linewidth=1)
        if known:
            _accuracy(panels[0], known, chance)
        _pairs(panels[-1], curve)
        panels[-1].set_xlim(curve[0]["similarity"], curve[-1]["similarity"] + 0.01)
        wide = curve[0]["similarity"] < 0.7
        panels[-1].xaxis.set_major_locator(MultipleLocator(0.1 if wide else 0.05))
        panels[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}"))
        panels[-1].set_xlabel("similarity of the two images")

    label = (
        "Accuracy of the pairs (line, with 95 % intervals and the level of chance) and their "
        f"number (bars, logarithmic) for each 0.01 of similarity; the chosen interval, {low:g} to "
        f"{high:g}, is shaded. The numbers are in the table beneath."
    )
    return to_svg("thresholds", draw, 3.9 if known else 2.4, label)


def _accuracy(axes: Axes, rows: Rows, chance: float | None) -> None:
    colour = COLOURS["sepp"]
    middle = [row["similarity"] + 0.005 for row in rows]
    share, low, high = (
        [100 * row[name] for row in rows] for name in ("accuracy", "accuracy_low", "accuracy_high")
    )
    axes.plot(middle, share, "-", color=colour, linewidth=1.5)
    axes.vlines(middle, low, high, colour, linewidth=1.2, alpha=0.55)
    for few, face in ((True, COLOURS["panel"]), (False, colour)):
        points = [i for i, row in enumerate(rows) if (row["judged"] < FEW) == few]
        x, y = ([values[i] for i in points] for values in (middle, share))
        axes.plot(x, y, "o", color=colour, markerfacecolor=face, markersize=4, zorder=3)
    if chance is not None:
        axes.axhline(100 * chance, color=COLOURS["ink"], linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(
            "chance", (1, 100 * chance), xycoords=("axes fraction", "data"), xytext=(-2, 2),
            textcoords="offset points", ha="right", fontsize=9,
        )  # fmt: skip
    axes.set_title("Accuracy: pairs whose labels agree, % (bar: 95 % interval)")
    lowest = min(*low, 100 * chance) if chance is not None else min(low)
    axes.set_ylim(max(0, lowest - 5), 101)


def _pairs(axes: Axes, rows: Rows) -> None:
    edges = [row["similarity"] for row in rows]
    axes.bar(
        edges, [row["pairs"] for row in rows], 0.01, align="edge",
        color=COLOURS["pairs"], edgecolor=COLOURS["panel"], linewidth=0.8,
    )  # fmt: skip
    axes.set_title("Pairs (logarithmic)")
    axes.set_yscale("log")
    axes.set_ylim(0.5, max(10, 2 * max(row["pairs"] for row in rows)))
    axes.yaxis.set_major_formatter(FuncFormatter(short))
    axes.yaxis.set_minor_locator(NullLocator())


def short(value: float, _: object = None) -> str:
    """A large number as an axis has room for it, e.g. 2.5 k."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g} {letter}"
    return f"{value:g}"


def score_chart(runs: Runs) -> str:
    """Linear top-1 of every run: a dot a seed, a bar at the arm's mean."""
    scores = {
        arm: [run["linear_top1"] for run in results if "skipped" not in run]
        for arm, results in runs.items()
    }
    scores = {arm: values for arm, values in scores.items() if values}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, (arm, values) in enumerate(scores.items()):
            axes.plot(
                values, [row] * len(values), "o", color=colour_of(arm), markersize=8,
                markerfacecolor="none", markeredgewidth=1.6,
            )  # fmt: skip
            axes.vlines(
                sum(values) / len(values), row - 0.3, row + 0.3, colour_of(arm), linewidth=3
            )
        axes.set_yticks(range(len(scores)), list(scores))
        axes.set_ylim(len(scores) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.margins(x=0.1)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_title("Every seed (circle) and the mean (bar)")
        axes.set_xlabel("linear top-1, % of the test images")

    label = "Linear top-1 of each seed and the mean of each arm; the numbers are in the table."
    return to_svg("scores", draw, 1.1 + 0.36 * len(scores), label)


def training_chart(name: str, histories: dict[str, list[Rows]]) -> str:
    """Loss, and spread of the embeddings where recorded, by optimiser step; a line a seed."""
    every = [history for curves in histories.values() for history in curves]
    panels = {"loss": "Loss"}
    if all(row.get("embedding_std") is not None for history in every for row in history):
        panels["embedding_std"] = "Spread of the embeddings (0 = collapsed, 1 = even)"

    def draw(figure: Figure) -> None:
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (column, title) in zip(rows, panels.items(), strict=True):
            for arm, curves in histories.items():
                dash = dash_of(arm, list(histories))
                for number, history in enumerate(curves):
                    _curve(axes, arm, history, column, None if number else arm, dash)
            axes.set_title(title)
        if "embedding_std" in panels:
            rows[-1].set_ylim(0, 1.08)
        _steps(rows[-1])
        if len(histories) > 1:
            figure.legend(*rows[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)

    label = f"{' and '.join(panels)} by optimiser step of {', '.join(histories)}".replace("_", " ")
    height = 0.5 + 1.5 * len(panels) + (0.25 * -(-len(histories) // 3) if len(histories) > 1 else 0)
    return to_svg(name, draw, height, label)


def _curve(
    axes: Axes,
    arm: str,
    history: Rows,
    column: str,
    label: str | None,
    dash: object,
    unit: float = 1,
) -> None:
    steps = [row["step"] for row in history]
    values = [float("nan") if row[column] is None else unit * row[column] for row in history]
    axes.plot(
        steps, values, color=colour_of(arm), linestyle=dash, linewidth=1.3,
        label=label, marker="o" if len(steps) < 3 else None, markersize=4,
    )  # fmt: skip


def _steps(axes: Axes) -> None:
    """Not epochs, which are passes over an arm's own rows, and so longer in one than in another."""
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("optimiser steps of the whole training")


class Curve(NamedTuple):
    label: str  # curves of one label are seeds of one thing
    colour: str  # one of COLOURS, or a round
    rows: Rows  # of a training's history
    column: str


def neighbour_chart(curves: Sequence[Curve]) -> str:
    """Shares of equal labels by optimiser step, each in `column` of its rows."""
    labels = list(dict.fromkeys(curve.label for curve in curves))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        named: set[str] = set()
        for label, colour, rows, column in curves:
            dash = dash_of(colour, [curve.colour for curve in curves])
            _curve(axes, colour, rows, column, None if label in named else label, dash, unit=100)
            named.add(label)
        axes.set_title("Neighbours with the anchor's label, %")
        axes.set_ylim(0, 101)
        _steps(axes)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)

    label = f"Share of neighbours with the anchor's label, by optimiser step: {', '.join(labels)}"
    return to_svg("neighbours", draw, 2.2 + 0.25 * -(-len(labels) // 2), label)


class ScoreLine(NamedTuple):
    label: str
    colour: str  # one of COLOURS
    points: dict[float, float]  # accuracy by pairs per image


def score_lines_chart(lines: Sequence[ScoreLine]) -> str:
    """Accuracy of the pairs by how many are taken, a line for each score."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for label, colour, points in lines:
            axes.plot(
                list(points), [100 * share for share in points.values()], color=COLOURS[colour],
                linestyle=DASHES.get(colour, "-"), linewidth=1.5, marker="o", markersize=4,
                label=label,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({x for line in lines for x in line.points}))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(labelsize=LARGE)
        axes.set_title("Accuracy: pairs whose labels agree, %", fontsize=LARGE)
        axes.set_xlabel("pairs per image (logarithmic)", fontsize=LARGE)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", fontsize=LARGE)

    label = f"Accuracy by pairs per image: {'; '.join(line.label for line in lines)}"
    return to_svg("score-lines", draw, 3.0 + 0.25 * len(lines), label)
