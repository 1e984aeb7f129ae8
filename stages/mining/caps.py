"""Limits on the number of pairs, applied after mining; what they drop is seeded.

Every pair has a priority, a hash of its two rows and the seed. So what is kept does not depend on
the engine or on how the pairs come in blocks, and no more than a part of them is ever in memory.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator

import numpy as np

from stages.mining import Pairs

logger = logging.getLogger(__name__)
Blocks = Callable[[], Iterator[Pairs]]  # all pairs, in blocks, as often as it is called
PART = 2**22  # pairs that are ordered by priority at a time, about 400 MB
FEW = 2**16  # of them that are numbers of Python at a time


def cap_pairs(
    blocks: Blocks, rows: int, max_per_anchor: int | None, max_pairs: int | None, seed: int
) -> np.ndarray:
    """Which of the pairs to keep: at most `max_per_anchor` of any row, on either side; then at most
    `max_pairs` in all. None is no limit.

    The first goes through the pairs by priority and keeps each whose two rows have room; the second
    keeps those of the highest priority. Memory: a byte for every pair, and one part of them.

    Args:
        blocks: gives the pairs of `rows` rows.

    Returns:
        (M,) bool, over all pairs in their order.
    """
    kept = np.ones(sum(len(block.anchor) for block in blocks()), bool)
    for name, limit, keep in (
        ("max_per_anchor", max_per_anchor, _per_anchor),
        ("max_pairs", max_pairs, _in_all),
    ):
        if limit is not None:
            before = np.count_nonzero(kept)
            kept = keep(blocks, kept, rows, limit, seed)
            counts = f"{before - np.count_nonzero(kept):,}", f"{before:,}"
            logger.info("sepp.%s %d: removed %s of %s pairs", name, limit, *counts)
    return kept


def _per_anchor(blocks: Blocks, among: np.ndarray, rows: int, limit: int, seed: int) -> np.ndarray:
    kept, used = np.zeros_like(among), np.zeros(rows, np.int64)
    for places, pairs in _by_priority(blocks, among, seed):
        for start in range(0, len(places), FEW):
            some = slice(start, start + FEW)
            # Most rows are full after the first parts, and their pairs need no closer look.
            open_ = (used[pairs.anchor[some]] < limit) & (used[pairs.positive[some]] < limit)
            columns = (column[some][open_].tolist() for column in (places, *pairs[:2]))
            for place, i, j in zip(*columns, strict=True):
                if used[i] < limit and used[j] < limit:
                    used[i] += 1
                    used[j] += 1
                    kept[place] = True
        if np.count_nonzero(used < limit) < 2:
            break  # no two rows have room
    return kept


def _in_all(blocks: Blocks, among: np.ndarray, rows: int, limit: int, seed: int) -> np.ndarray:
    kept, left = np.zeros_like(among), limit
    for places, _ in _by_priority(blocks, among, seed + 1):  # another order than the rows' own
        kept[places[:left]] = True
        left = max(0, left - len(places))
        if not left:
            break
    return kept


def _by_priority(
    blocks: Blocks, among: np.ndarray, seed: int
) -> Iterator[tuple[np.ndarray, Pairs]]:
    """Those in `among`, the highest priority first: (m,) places, and their pairs, part by part."""
    parts = max(1, -(-int(np.count_nonzero(among)) // PART))
    edges = [2**64 * part // parts for part in range(parts + 1)]
    for low, high in itertools.pairwise(edges):
        found, start = [], 0
        for block in blocks():
            stop = start + len(block.anchor)
            key = priority(block, seed)
            inside = among[start:stop] & (key >= np.uint64(low)) & (key <= np.uint64(high - 1))
            place = np.flatnonzero(inside)
            found.append((place + start, key[place], *block.take(place)))
            start = stop
        places, keys, *columns = (np.concatenate(column) for column in zip(*found, strict=True))
        found.clear()
        order = np.lexsort((places, keys))
        del keys
        yield places[order], Pairs(*columns).take(order)


def priority(pairs: Pairs, seed: int) -> np.ndarray:
    """(M,) uint64, as good as random, of each pair and the seed (splitmix64's finaliser)."""
    with np.errstate(over="ignore"):
        mixed = _mix(np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15))
        for column in (pairs.anchor, pairs.positive):
            mixed = _mix(mixed ^ column.astype(np.uint64))
    return mixed


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
