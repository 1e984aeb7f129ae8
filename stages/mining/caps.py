"""Limits on the number of pairs, applied after mining; what they drop is seeded."""

from __future__ import annotations

import logging

import numpy as np

from stages.mining import Pairs

logger = logging.getLogger(__name__)


def cap_pairs(
    pairs: Pairs, max_per_anchor: int | None, max_pairs: int | None, rng: np.random.Generator
) -> Pairs:
    """At most `max_per_anchor` pairs of any row, on either side; then at most `max_pairs` in all.

    None is no limit. The first goes through the pairs in random order and keeps each whose two
    rows have room; the second keeps a random subset. Order and similarity of the kept stay.
    """
    for name, limit, keep in (
        ("max_per_anchor", max_per_anchor, _per_anchor),
        ("max_pairs", max_pairs, _in_all),
    ):
        if limit is not None:
            before = len(pairs.anchor)
            pairs = pairs.take(np.sort(keep(pairs, limit, rng)))
            counts = f"{before - len(pairs.anchor):,}", f"{before:,}"
            logger.info("sepp.%s %d: removed %s of %s pairs", name, limit, *counts)
    return pairs


def _per_anchor(pairs: Pairs, limit: int, rng: np.random.Generator) -> np.ndarray:
    order = rng.permutation(len(pairs.anchor))
    used: dict[int, int] = {}
    kept = []
    ends = zip(pairs.anchor[order].tolist(), pairs.positive[order].tolist(), strict=True)
    for position, (i, j) in zip(order.tolist(), ends, strict=True):
        if used.get(i, 0) < limit and used.get(j, 0) < limit:
            used[i] = used.get(i, 0) + 1
            used[j] = used.get(j, 0) + 1
            kept.append(position)
    return np.array(kept, dtype=np.int64)


def _in_all(pairs: Pairs, limit: int, rng: np.random.Generator) -> np.ndarray:
    count = len(pairs.anchor)
    return rng.choice(count, min(limit, count), replace=False)
