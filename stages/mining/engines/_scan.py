"""The inner loop of `pruned` on a CPU: compiled, without Python's lock, so that threads help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from stages.mining.engines._sketch import LANE


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """numba.njit, with its files kept where there is a folder for them: else it compiles anew."""

    def decorate(function: Callable) -> Callable:
        try:
            return njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # neither beside this file nor in the user's home may be written
            return njit(nogil=True, **options)(function)

    return decorate


@compiled(fastmath={"reassoc", "contract"})
def scan(bounds, threshold, x, order, i, j, lo, hi, most):
    """Pairs of a tile whose bound reaches the threshold and whose dot product is in [lo, hi].

    Args:
        bounds: (H, W) of ranks i, i + 1, … with ranks j, j + 1, …; H * W divides into lanes.
        threshold: of the same type as a bound.
        x: (N, D) float32.
        order: (N,) int64, the rows of all ranks.
        most: bounds that may reach the threshold.

    Returns:
        How many did, or -1 if more than `most` do; and (M,), (M,) int64 ranks.
    """
    width = bounds.shape[1]
    lanes = bounds.reshape(-1, LANE)
    first, second = np.empty(most, np.int64), np.empty(most, np.int64)
    reached = found = 0
    for number in _high(lanes, threshold):
        for k in range(LANE):
            if lanes[number, k] < threshold:
                continue
            if reached == most:
                return -1, first[:0], second[:0]
            reached += 1
            place = number * LANE + k
            a, b = i + place // width, j + place % width
            if a < b:
                value = _dot(x[order[a]], x[order[b]])
                if lo <= value <= hi:
                    first[found], second[found] = a, b
                    found += 1
    return reached, first[:found].copy(), second[:found].copy()


@compiled()
def _high(lanes, threshold):
    """Numbers of the lanes (L, LANE) in which any bound reaches the threshold."""
    numbers = np.empty(len(lanes), np.int64)
    count = 0
    for number in range(len(lanes)):
        lane = lanes[number]
        high = np.int16(0)
        for k in range(LANE):  # without a branch, so that it becomes vector instructions
            high |= np.int16(lane[k] >= threshold)
        if high:
            numbers[count] = number
            count += 1
    return numbers[:count]


@compiled(fastmath={"reassoc", "contract"})
def _dot(one, two):
    value = np.float32(0)
    for d in range(len(one)):
        value += one[d] * two[d]
    return value
