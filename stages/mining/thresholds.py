"""Which threshold is as low as an accuracy allows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.common.explored import Explored
from stages.common.judged import Verdicts, estimate


class Option(NamedTuple):
    """What [min, max] would give."""

    min: float
    pairs: float
    covered: float  # images
    accuracy: float
    low: float  # of its 95 % interval
    high: float


Judged = tuple[np.ndarray, np.ndarray]  # (B,) judged pairs of each bin: right ones, and all


def options(explored: Explored, high: float, judged: Judged | None = None) -> list[Option]:
    """One for each bin at which an interval up to `high` may begin, from the lowest on; those of
    which nothing tells the accuracy are left out. With `judged`, by these instead of labels."""
    _, last = explored.bins(float(explored.edges[0]), high)
    found = []
    for first in range(last + 1):
        if judged is None:
            share = explored.accuracy(first, last)
        else:
            inside = slice(first, last + 1)
            share = estimate(explored.pairs[inside], *(values[inside] for values in judged))
        if share is not None:
            covered = float(explored.covered[first, last])
            low = float(explored.edges[first])
            found.append(Option(low, explored.count(first, last), covered, *share))
    return found


def lowest(found: list[Option], accuracy: float) -> Option | None:
    """The lowest threshold whose accuracy is at least this by the lower end of its interval."""
    return next((option for option in found if option.low >= accuracy), None)


def best(found: list[Option]) -> Option:
    """That of the highest lower end."""
    return max(found, key=lambda option: option.low)


def by_bins(explored: Explored, verdicts: Verdicts) -> Judged:
    """Of the judged pairs that were put to people here."""
    anchor, positive = (explored.shown[name].to_numpy() for name in ("anchor", "positive"))
    shown = zip(anchor.tolist(), positive.tolist(), strict=True)
    place = {pair: row for row, pair in enumerate(shown)}
    ends = zip(verdicts.anchor.tolist(), verdicts.positive.tolist(), strict=True)
    rows = np.array([place.get(pair, -1) for pair in ends], np.int64)
    there = rows >= 0
    similarity = explored.shown["similarity"].to_numpy()[rows[there]]
    bins = explored.bin_of(similarity)
    size = len(explored.pairs)
    right = np.bincount(bins, verdicts.same[there], minlength=size)
    return right, np.bincount(bins, minlength=size).astype(float)
