"""Rows in the order of their places along a direction, so that far rows never meet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from stages.common.unit import UNIT
from stages.mining.rows import error_bound


class Order(NamedTuple):
    """The row numbers of all ranks, and what is known of them; split: see `make_order`."""

    rows: np.ndarray  # (N,) int64
    places: np.ndarray  # (N,) float32, which ascend from 0 to split, and from there
    reach: np.float32  # how far the places of two rows of a pair can be apart
    split: int

    def bands(self, size: int) -> Iterator[tuple[int, int, int]]:
        """(start, low, high): the `size` ranks from start on meet those from low up to high."""
        end, others = self.split or len(self.rows), self.places[self.split :]
        for start in range(0, end, size):
            stop = min(start + size, end)
            first, last = self.places[start] - self.reach, self.places[stop - 1] + self.reach
            low = self.split + int(np.searchsorted(others, first))
            high = self.split + int(np.searchsorted(others, last, "right"))
            yield start, max(start, low), high


def make_order(x: np.ndarray, axis: np.ndarray, lo: float, split: int) -> Order:
    """Of unit rows x (N, D), along the unit vector `axis` (D,), for pairs of at least `lo`, which
    is below what is asked for by the error of a float32 product, as `find_pairs` sees to.

    Two rows are no nearer to each other than their places are: |a.x_i - a.x_j| <= |x_i - x_j|,
    whose square is at most 2 - 2 lo, for rows of norm 1.

    Args:
        split: 0, or pairs are only of a row before this with a row from it on.
    """
    places = x @ axis.astype(np.float32)
    parts = (np.argsort(places[:split]), split + np.argsort(places[split:]))
    rows = np.concatenate(parts)
    # Norms may be above 1 by UNIT, and float32 places be wrong, as products of rows may.
    reach = math.sqrt(max(0.0, 2 - 2 * lo) + 8 * UNIT) + 2 * error_bound(x.shape[1])
    return Order(rows, places[rows], np.float32(reach), split)
