"""The pairs of the highest similarity, exactly as many as are asked for, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from stages.common.pairs import Pairs
from stages.mining.rows import ordered

Blocks = Callable[[], Iterator[Pairs]]  # all pairs, in blocks, as often as it is called
HALF = 2**16


def highest(blocks: Blocks, count: int) -> Iterator[Pairs]:
    """The `count` most similar pairs, in blocks, in their order; all of them if they are fewer.

    Of pairs as similar as the last one, the first in their order are taken. Three passes over the
    pairs: memory is one block and a table of 65,536 counts.
    """
    cut, ties = _cut(blocks, count)
    for pairs in blocks():
        key = ordered(pairs.similarity)
        equal = np.flatnonzero(key == cut)[:ties]
        ties -= len(equal)
        chosen = key > cut
        chosen[equal] = True
        yield pairs.take(chosen)


def _cut(blocks: Blocks, count: int) -> tuple[int, int]:
    """The key of the last pair that is taken, and how many of that key are; by two digits of it."""
    prefix, left = 0, count
    for digit in (HALF, 1):
        counts = np.zeros(HALF, np.int64)
        for pairs in blocks():
            key = ordered(pairs.similarity)
            if digit == 1:
                key = key[key // HALF == prefix]
            counts += np.bincount(key // digit % HALF, minlength=HALF)
        above = np.cumsum(counts[::-1])[::-1] - counts  # pairs of a higher digit
        fits = np.flatnonzero(above < left)
        found = int(fits[0]) if len(fits) else HALF - 1
        left = min(left - int(above[found]), int(counts[found]))
        prefix = prefix * HALF + found
    return prefix, left
