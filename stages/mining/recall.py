"""How many of the pairs an approximate engine found."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stages.mining import Pairs
from stages.mining.rows import error_bound, within

ROWS = 1_000  # of the sample
BLOCK = 2**22  # similarities in work at a time, 16 MiB


def measure_recall(
    x: np.ndarray, found: Iterable[Pairs], lo: float, hi: float, seed: int
) -> dict[str, float | int | None]:
    """Of all pairs in [lo, hi] of some random rows of x (N, D) with any other, those `found`.

    rows: how many were drawn; pairs: which an exact search finds for them; share: of these found,
    None if there are none.
    """
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(len(x), min(len(x), ROWS), replace=False))
    exact = _partners(x, drawn, lo, hi)
    among = np.zeros(len(x), bool)
    among[drawn] = True
    hits = 0
    for pairs in found:
        near = pairs.take(among[pairs.anchor] | among[pairs.positive])
        hits += int(np.isin(near.anchor * len(x) + near.positive, exact).sum())
    share = round(hits / len(exact), 6) if len(exact) else None
    return {"rows": len(drawn), "pairs": len(exact), "share": share}


def _partners(x: np.ndarray, drawn: np.ndarray, lo: float, hi: float) -> np.ndarray:
    """(M,) int64 numbers i * N + j of the pairs i < j, sorted, by the formula of mining."""
    slack, rows, found = error_bound(x.shape[1]), len(x), [np.empty(0, np.int64)]
    for start in range(0, rows, step := max(1, BLOCK // max(1, len(drawn)))):
        fast = x[drawn] @ x[start : start + step].T
        i, j = ((lo - slack <= fast) & (fast <= hi + slack)).nonzero()
        i, j = drawn[i], j + start
        pairs = within(x, i[i != j], j[i != j], lo, hi)
        found.append(pairs.anchor * rows + pairs.positive)
    return np.unique(np.concatenate(found))
