"""Semantic pairs by similarity: every pair of rows whose cosine lies in an interval.

An engine (a file of `engines/`) proposes candidates for a slightly wider interval; what is kept is
decided here, by one formula. So the pairs do not depend, bit for bit, on the engine, the BLAS, the
device or the number of threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common.errors import SeppError
from stages.common.progress import Progress
from stages.common.unit import unit_rows
from stages.mining.engines import Means, candidates
from stages.mining.rows import error_bound, similarity

MEMORY = 2**30  # bytes
PART = 2**20  # pairs that are sorted at a time


class IntervalError(SeppError, ValueError):
    """A similarity interval that is empty or leaves [-1, 1]."""


class Pairs(NamedTuple):
    """M unordered pairs, each once, sorted by (anchor, positive)."""

    anchor: np.ndarray  # (M,) int64, anchor < positive
    positive: np.ndarray  # (M,) int64
    similarity: np.ndarray  # (M,) float32, in [-1, 1]

    def take(self, which: np.ndarray | slice) -> Pairs:
        """The pairs at positions, in a slice, or under a mask, `which`."""
        return Pairs(*(column[which] for column in self))


def join(parts: list[Pairs]) -> Pairs:
    """One after the other."""
    empty = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Pairs(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))


def find_pairs(
    embeddings: np.ndarray,
    lo: float,
    hi: float,
    engine: str = "auto",
    memory: int = MEMORY,
    scratch: Path = Path(),
) -> Pairs:
    """All unordered pairs of rows with ``lo <= cosine <= hi``, exactly (paper: Algorithm 1).

    `embeddings` is (N, D) float32; rows are L2-normalised unless they are. The similarity is the
    dot product of the float32 rows, summed in float64, rounded to float32 and clipped to [-1, 1];
    both bounds are inclusive, as float32. So the pairs are those of a float64 brute force, except
    where a similarity is within 1e-6 of a bound. (`ivf` alone finds only a part of them.)

    Args:
        engine: auto, or the name of a file of `engines/`.
        memory: bytes that the engine may take, beside the rows and the pairs.
        scratch: a folder, which all nodes see, for files that the ray engine makes and removes.

    Raises EmbeddingError for rows without a direction, IntervalError for bounds that are not
    ``-1 <= lo <= hi <= 1``, SeppError for an unknown or missing engine.
    """
    return join(list(pair_blocks(unit_rows(embeddings), lo, hi, engine, memory, scratch)))


def pair_blocks(
    x: np.ndarray,
    lo: float,
    hi: float,
    engine: str = "auto",
    memory: int = MEMORY,
    scratch: Path = Path(),
) -> Iterator[Pairs]:
    """The same of unit rows x (N, D), in blocks: together they are sorted, and each pair is in one.

    Memory: x, what the engine needs, and the pairs of one of its bands of anchors (`pruned`: 1,024
    anchors), 20 bytes each.
    """
    if not -1 <= lo <= hi <= 1:
        raise IntervalError(f"similarity interval [{lo}, {hi}]: needs -1 <= min <= max <= 1")
    slack = error_bound(x.shape[1])
    low, high = np.float32(lo), np.float32(hi)
    held: list[Pairs] = []
    first, count = 0, 0
    with Progress("mine", len(x), "rows") as progress:
        means = Means(memory, scratch, progress)
        for start, i, j in candidates(x, lo - slack, hi + slack, engine, means):
            if start > first:
                yield from _sorted(held, first, start, len(x))
                held, first = [], start
            value = similarity(x, i, j)
            keep = (low <= value) & (value <= high)
            if keep.any():
                held.append(Pairs(i[keep], j[keep], value[keep]))
                count += len(held[-1].anchor)
            progress.advance(0, pairs=f"{count:,}")
    yield from _sorted(held, first, len(x), len(x))


def _sorted(held: list[Pairs], first: int, last: int, rows: int) -> Iterator[Pairs]:
    """Those held, whose anchors are in [first, last), each once, and not too many at a time."""
    parts = -(-sum(len(pairs.anchor) for pairs in held) // PART)
    edges = np.linspace(first, last, parts + 1).astype(np.int64)
    for low, high in itertools.pairwise(edges.tolist()) if parts else ():
        pairs = join([p.take((low <= p.anchor) & (p.anchor < high)) for p in held])
        _, once = np.unique(pairs.anchor * rows + pairs.positive, return_index=True)
        if len(once):
            yield pairs.take(once)
