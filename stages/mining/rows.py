"""The similarity of two rows, by one formula that never varies, and its rounding."""

from __future__ import annotations

import numpy as np

from stages.common.pairs import Pairs
from stages.common.unit import BLOCK, UNIT


def within(x: np.ndarray, i: np.ndarray, j: np.ndarray, lo: float, hi: float) -> Pairs:
    """Those of the pairs of rows i and j, (M,), whose similarity is in [lo, hi], as float32."""
    anchor, positive = np.minimum(i, j), np.maximum(i, j)
    value = similarity(x, anchor, positive)
    keep = (np.float32(lo) <= value) & (value <= np.float32(hi))
    return Pairs(anchor, positive, value).take(keep)


def similarity(x: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """(M,) float32 cosines of the unit rows x[i] and x[j], (M,) row numbers; x is (N, D).

    Products of float32 are exact in float64, and NumPy's sum along the last axis has one order of
    summation, so the result is the same on every machine.
    """
    values = np.empty(len(i), np.float32)
    step = max(1, BLOCK // max(1, x.shape[1]))
    for start in range(0, len(i), step):
        block = slice(start, start + step)
        values[block] = np.multiply(x[i[block]], x[j[block]], dtype=np.float64).sum(axis=1)
    return np.clip(values, -1, 1, out=values)


def ordered(values: np.ndarray) -> np.ndarray:
    """int64 in [0, 2**32) that sort as the float32 `values` do; -0.0 as 0.0."""
    bits = (values + np.float32(0)).view(np.uint32).astype(np.int64)
    return np.where(bits >> 31, 2**32 - 1 - bits, bits + 2**31)


def unordered(keys: np.ndarray) -> np.ndarray:
    """The float32 of what `ordered` gave."""
    bits = np.where(keys >> 31, keys - 2**31, 2**32 - 1 - keys)
    return bits.astype(np.uint32).view(np.float32)


def error_bound(dim: int) -> float:
    """How far a float32 dot product of two unit rows can be from `similarity`, at most.

    ``dim * 2**-24`` bounds the rounding of the sum in any order (Higham, Accuracy and Stability of
    Numerical Algorithms, section 3.1); the rest is the slack in the norms, which clipping hides.
    """
    return 1.01 * dim * 2.0**-24 + 4 * UNIT
