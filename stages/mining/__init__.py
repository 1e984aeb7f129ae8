"""Semantic pairs by similarity: every pair of rows whose cosine lies in an interval.

An engine (one function, one file, one entry in `ENGINES`) proposes candidates for a slightly wider
interval; what is kept is decided here, by one formula. So the pairs do not depend, bit for bit, on
the engine, the BLAS or the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from stages.common.errors import SeppError
from stages.common.progress import Progress
from stages.common.unit import unit_rows
from stages.mining import faiss_engine
from stages.mining.rows import error_bound, similarity


class IntervalError(SeppError, ValueError):
    """A similarity interval that is empty or leaves [-1, 1]."""


class Pairs(NamedTuple):
    """M unordered pairs, each once, sorted by (anchor, positive)."""

    anchor: np.ndarray  # (M,) int64, anchor < positive
    positive: np.ndarray  # (M,) int64
    similarity: np.ndarray  # (M,) float32, in [-1, 1]

    def take(self, which: np.ndarray) -> Pairs:
        """The pairs at positions, or under a mask, `which`."""
        return Pairs(*(column[which] for column in self))


# candidates(x, lo, hi, progress): x is (N, D) float32 of unit rows. Yields blocks (i, j) of row
# numbers, in which each pair whose float32 dot product lies in [lo, hi] is found at least once, in
# either order; more than these do no harm. Advances `progress` by N rows in all.
Engine = Callable[[np.ndarray, float, float, Progress], Iterator[tuple[np.ndarray, np.ndarray]]]
ENGINES: dict[str, Engine] = {"faiss": faiss_engine.candidates}


def find_pairs(embeddings: np.ndarray, lo: float, hi: float, engine: str = "faiss") -> Pairs:
    """All unordered pairs of rows with ``lo <= cosine <= hi``, exactly (paper: Algorithm 1).

    `embeddings` is (N, D) float32; rows are L2-normalised unless they are. The similarity is the
    dot product of the float32 rows, summed in float64, rounded to float32 and clipped to [-1, 1];
    both bounds are inclusive, as float32. So the pairs are those of a float64 brute force, except
    where a similarity is within 1e-6 of a bound. Memory: about 100 bytes a pair at the peak, and
    the engine's.

    Raises EmbeddingError for rows without a direction, IntervalError for bounds that are not
    ``-1 <= lo <= hi <= 1``, SeppError for an unknown or missing engine.
    """
    if not -1 <= lo <= hi <= 1:
        raise IntervalError(f"similarity interval [{lo}, {hi}]: needs -1 <= min <= max <= 1")
    if engine not in ENGINES:
        raise SeppError(f"sepp.engine: no engine {engine!r}; there are {', '.join(ENGINES)}")
    x = unit_rows(embeddings)  # (N, D)
    slack = error_bound(x.shape[1])
    low, high = np.float32(lo), np.float32(hi)
    found, count = [_no_pairs()], 0
    with Progress("mine", len(x), "rows") as progress:
        for i, j in ENGINES[engine](x, lo - slack, hi + slack, progress):
            value = similarity(x, i, j)
            keep = (low <= value) & (value <= high) & (i != j)
            i, j = i[keep], j[keep]
            found.append(Pairs(np.minimum(i, j), np.maximum(i, j), value[keep]))
            count += len(i)
            progress.advance(0, pairs=f"{count:,}")
    pairs = Pairs(*(np.concatenate(columns) for columns in zip(*found, strict=True)))
    _, once = np.unique(pairs.anchor * len(x) + pairs.positive, return_index=True)
    return pairs.take(once)


def _no_pairs() -> Pairs:
    return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
