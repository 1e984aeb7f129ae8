"""How many pairs an interval will hold, before they are looked for."""

from __future__ import annotations

import numpy as np

ANCHORS = 512  # rows that are compared with all others
BLOCK = 2**22  # similarities in work at a time, 16 MiB


def expected_pairs(x: np.ndarray, lo: float, hi: float, seed: int) -> float:
    """Pairs of the unit rows x (N, D) in [lo, hi], from a random sample of anchors.

    Exact, but for float32, if N is at most 512.
    """
    rows = len(x)
    if rows < 2:
        return 0.0
    rng = np.random.default_rng(seed)
    anchors = np.sort(rng.choice(rows, min(rows, ANCHORS), replace=False))
    sample, inside = x[anchors], 0
    for start in range(0, rows, step := max(1, BLOCK // len(anchors))):
        values = sample @ x[start : start + step].T  # (A, B)
        np.clip(values, -1, 1, out=values)  # equal rows may have more than 1
        # A row with itself is 1 but for rounding, and no pair.
        here = np.flatnonzero((start <= anchors) & (anchors < start + step))
        values[here, anchors[here] - start] = np.nan
        inside += np.count_nonzero((lo <= values) & (values <= hi))
    return inside * rows / (2 * len(anchors))
