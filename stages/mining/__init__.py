"""Semantic pairs by similarity: every pair of rows whose cosine lies in an interval.

An engine (a file of `engines/`) proposes candidates for a slightly wider interval; what is kept is
decided here, by one formula. So the pairs do not depend, bit for bit, on the engine, the BLAS, the
device or the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.common.errors import SeppError
from stages.common.pairs import Pairs, join
from stages.common.progress import Progress
from stages.common.unit import unit_rows
from stages.mining.engines import Means, candidates
from stages.mining.pairs import sort_pairs
from stages.mining.rows import error_bound, within

__all__ = ["IntervalError", "Pairs", "find_pairs", "join", "pair_blocks"]
MEMORY = 2**30  # bytes


class IntervalError(SeppError, ValueError):
    """A similarity interval that is empty or leaves [-1, 1]."""


def find_pairs(
    embeddings: np.ndarray,
    lo: float,
    hi: float,
    engine: str = "auto",
    memory: int = MEMORY,
    scratch: Path | None = None,
) -> Pairs:
    """All unordered pairs of rows with ``lo <= cosine <= hi``, exactly (paper: Algorithm 1).

    `embeddings` is (N, D) float32; rows are L2-normalised unless they are. The similarity is the
    dot product of the float32 rows, summed in float64, rounded to float32 and clipped to [-1, 1];
    both bounds are inclusive, as float32. So the pairs are those of a float64 brute force, except
    where a similarity is within 1e-6 of a bound. (`ivf` alone finds only a part of them.)

    Args:
        engine: auto, or the name of a file of `engines/`.
        memory: bytes that mining may take, beside the rows and the pairs returned.
        scratch: a folder for files, which go when mining ends; None: the system's temporary one.
            With `ray` all nodes must see it.

    Raises EmbeddingError for rows without a direction, IntervalError for bounds that are not
    ``-1 <= lo <= hi <= 1``, SeppError for an unknown or missing engine.
    """
    return join(pair_blocks(unit_rows(embeddings), lo, hi, engine, memory, scratch))


def pair_blocks(
    x: np.ndarray,
    lo: float,
    hi: float,
    engine: str = "auto",
    memory: int = MEMORY,
    scratch: Path | None = None,
) -> Iterator[Pairs]:
    """The same of unit rows x (N, D), in blocks: together they are sorted, and each pair is in one.

    Beside x, memory is what the engine needs, of three quarters of `memory`, and what sorting does.
    """
    if not -1 <= lo <= hi <= 1:
        raise IntervalError(f"similarity interval [{lo}, {hi}]: needs -1 <= min <= max <= 1")
    found = _found(x, lo, hi, engine, memory // 4 * 3, scratch)
    yield from sort_pairs(found, len(x), memory // 16, scratch)


def _found(
    x: np.ndarray, lo: float, hi: float, engine: str, memory: int, scratch: Path | None
) -> Iterator[Pairs]:
    slack, count = error_bound(x.shape[1]), 0
    with Progress("mine", len(x), "rows") as progress:
        means = Means(memory, scratch, progress)
        for i, j in candidates(x, lo - slack, hi + slack, engine, means):
            pairs = within(x, i, j, lo, hi)
            count += len(pairs.anchor)
            progress.advance(0, pairs=f"{count:,}")
            yield pairs
