"""How many pairs there will be, before they are looked for, from a random sample of anchors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

ANCHORS = 512  # rows that are compared with all others
BLOCK = 2**22  # similarities in work at a time, 16 MiB
STEPS = 1000  # of a similarity, to 1


def expected_pairs(x: np.ndarray, lo: float, hi: float, seed: int) -> float:
    """Pairs of the unit rows x (N, D) in [lo, hi]. Exact, but for float32, if N is at most 512."""
    inside = sum(np.count_nonzero((lo <= v) & (v <= hi)) for v in _similarities(x, seed))
    return inside * _scale(x)


def threshold_of(x: np.ndarray, count: float, hi: float, seed: int) -> float:
    """The highest multiple of 0.001 above which about `count` pairs with at most `hi` lie; -1 if
    there are not as many."""
    counts = np.zeros(2 * STEPS + 1)
    for values in _similarities(x, seed):
        inside = values[values <= hi]
        bins = np.floor((inside + 1) * STEPS).astype(np.int64)
        counts += np.bincount(bins, minlength=len(counts))
    above = np.cumsum(counts[::-1])[::-1] * _scale(x)  # pairs of at least each edge
    enough = np.flatnonzero(above >= count)
    return (int(enough[-1]) - STEPS) / STEPS if len(enough) else -1.0


def _scale(x: np.ndarray) -> float:
    """Pairs among all rows for each similarity of an anchor with another row."""
    return len(x) / (2 * max(1, min(len(x), ANCHORS)))


def _similarities(x: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """(A, B) similarities of the anchors with all rows, block by block; with themselves, NaN."""
    rows = len(x)
    if rows < 2:
        return
    rng = np.random.default_rng(seed)
    anchors = np.sort(rng.choice(rows, min(rows, ANCHORS), replace=False))
    sample = x[anchors]
    for start in range(0, rows, step := max(1, BLOCK // len(anchors))):
        values = sample @ x[start : start + step].T
        np.clip(values, -1, 1, out=values)  # equal rows may have more than 1
        # A row with itself is 1 but for rounding, and no pair.
        here = np.flatnonzero((start <= anchors) & (anchors < start + step))
        values[here, anchors[here] - start] = np.nan
        yield values
