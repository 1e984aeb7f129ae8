"""Gain by the number of pairs and by their accuracy: a point an experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from scipy.optimize import isotonic_regression

from stages.comparison.rows import Row
from stages.reporting import words
from stages.reporting.charts import short
from stages.reporting.svg import COLOURS, to_svg

TEXT = 14  # points; legible where a phone shows the chart at three quarters of its size
CROWD, SMALL = 14, 11  # rows, beyond which their numbers are smaller, and how small in points
APART = 0.07  # of the width, between points
DECADE = 10  # times the fewest pairs, from which on the axis is logarithmic


def gain_chart(name: str, title: str, rows: Sequence[Row]) -> str:
    """The gain in `name`, linear or knn, of `rows` that have one, in two panels: against their
    pairs, and against the accuracy of these where it is known. Points are numbered as the rows."""
    judged = [row for row in rows if row.pairs["accuracy"] is not None]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2 if judged else 1, 1, sharey=True, squeeze=False)[:, 0]
        _pairs(panels[0], rows, name)
        if judged:
            _panel(panels[1], judged, [100 * row.pairs["accuracy"] for row in judged], name)
            panels[1].set_xlabel("right pairs, %", fontsize=TEXT)
        for axes in panels:
            axes.set_title(title, fontsize=TEXT)
        figure.get_layout_engine().set(h_pad=0.12)  # inches

    by = "the number of pairs and the share of right ones" if judged else "the number of pairs"
    label = f"{title}, with 95 % intervals, by {by}; the numbers are in the table above."
    return to_svg(f"gain-{name}", draw, 6.0 if judged else 3.1, label)


def _pairs(axes: Axes, rows: Sequence[Row], name: str) -> None:
    counts = [row.pairs["count"] for row in rows]
    if min(counts) and max(counts) / min(counts) >= DECADE:
        axes.set_xscale("log")
        _panel(axes, rows, counts, name)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("pairs (logarithmic)", fontsize=TEXT)
    else:
        _panel(axes, rows, counts, name)
        axes.set_xlabel("pairs", fontsize=TEXT)
    axes.xaxis.set_major_formatter(FuncFormatter(short))


def _panel(axes: Axes, rows: Sequence[Row], places: Sequence[float], name: str) -> None:
    logarithmic = axes.get_xscale() == "log"
    axes.axhline(0, color=COLOURS["ink"], linewidth=1)
    spread, ends = apart([math.log10(x) for x in places] if logarithmic else places)
    places, ends = ([10**x for x in values] if logarithmic else values for values in (spread, ends))
    for row, x in zip(rows, places, strict=True):
        gain = row.gain[name]
        if gain["low"] is not None:
            axes.vlines(x, gain["low"], gain["high"], COLOURS["sepp"], linewidth=1.8)
        face = COLOURS["sepp" if words.significant(gain) else "panel"]
        axes.plot(
            x, gain["mean"], "o", color=COLOURS["sepp"], markerfacecolor=face, markersize=8,
            markeredgewidth=1.8,
        )  # fmt: skip
        top = gain["mean"] if gain["high"] is None else gain["high"]
        axes.annotate(
            f"{row.number}", (x, top), (0, 5), textcoords="offset points", ha="center",
            fontsize=TEXT if len(rows) <= CROWD else SMALL,
        )  # fmt: skip
    axes.set_xlim(*ends)
    axes.margins(y=0.16)  # for the number of the highest
    axes.tick_params(labelsize=TEXT)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    if not logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=max(places) > 100))


def apart(places: Sequence[float]) -> tuple[list[float], tuple[float, float]]:
    """`places` moved as little as can be so that none covers another, and where the axis ends."""
    lowest, highest = min(places), max(places)
    width = highest - lowest or max(abs(lowest), 1) / 10
    order = np.argsort(places, kind="stable")
    gaps = min(APART, 1 / len(places)) * width * np.arange(len(places))
    moved = np.empty(len(places))
    moved[order] = isotonic_regression(np.asarray(places, float)[order] - gaps).x + gaps
    margin = APART * width
    return moved.tolist(), (float(moved.min()) - margin, float(moved.max()) + margin)
