"""Similarity by shared neighbourhoods: how alike are the places where two short walks arrive.

Two images that are near to the same images are alike even where they are not each other's nearest,
and one odd neighbour counts for little: pairs are more often right than by the cosine of their
embeddings, and are spread over more images.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from stages.common.pairs import Pairs
from stages.common.progress import Progress
from stages.mining import MEMORY
from stages.mining.graph import Graph
from stages.mining.tally import Partners

BLOCK = 2**11  # rows whose partners come together
RESOLUTION = 1_000  # steps of similarity that are counted apart


class Walk:
    """Pairs of unit rows x (N, D) by random walks over the `neighbours` nearest of each row.

    The similarity of two rows is the fourth root of the cosine of where two steps from each arrive,
    see `Graph`: in [0, 1]. Rows without a common neighbour are no pair.

    Args:
        memory: bytes, beside x; `graph.memory_needed` tells how many are too few.
    """

    lowest = 0.0  # similarity that there can be

    def __init__(self, x: np.ndarray, neighbours: int, memory: int = MEMORY) -> None:
        self.rows = len(x)
        self.graph = Graph(x, neighbours, memory)
        self.memory = self.graph.left

    def blocks(self, lo: float, hi: float) -> Iterator[Pairs]:
        """Pairs with lo <= similarity <= hi, as float32 and above 0, sorted, each once."""
        with Progress("mine", self.rows, "rows") as progress:
            for rows, pairs in self.graph.pairs(lo, self.memory):
                yield pairs.take(pairs.similarity <= np.float32(hi))
                progress.advance(rows.stop - rows.start)

    def expected(self, lo: float, hi: float) -> float:
        """How many pairs lie in [lo, hi], to 0.001."""
        edges = np.arange(RESOLUTION + 1) / RESOLUTION
        return float(self.counts[(edges >= lo - 0.5 / RESOLUTION) & (edges <= hi)].sum())

    def threshold(self, count: float, hi: float) -> float:
        """The highest multiple of 0.001 above which `count` pairs with at most `hi` lie; else 0."""
        edges = np.arange(RESOLUTION + 1) / RESOLUTION
        above = np.cumsum(np.where(edges <= hi, self.counts, 0)[::-1])[::-1]
        enough = np.flatnonzero(above >= count)
        return enough[-1] / RESOLUTION if len(enough) else 0.0

    def partners(self, lo: float) -> Iterator[Partners]:
        """All pairs of at least `lo` that each row is in, block by block."""
        with Progress("explore", self.rows, "rows") as progress:
            for rows, pairs in self.graph.pairs(lo, self.memory // 2, both=True):
                for start in range(rows.start, rows.stop, BLOCK):
                    anchors = np.arange(start, min(start + BLOCK, rows.stop))
                    part = pairs.take(slice(*np.searchsorted(pairs.anchor, [start, start + BLOCK])))
                    yield Partners(anchors, part.anchor - start, *part[1:])
                    progress.advance(len(anchors))

    @cached_property
    def counts(self) -> np.ndarray:
        """(1001,) pairs by similarity, rounded down to 0.001."""
        counts = np.zeros(RESOLUTION + 1, np.int64)
        for _, pairs in self.graph.pairs(0.0, self.memory):
            bins = np.floor(pairs.similarity.astype(np.float64) * RESOLUTION + 1e-3)
            counts += np.bincount(bins.astype(np.int64), minlength=len(counts))[: len(counts)]
        return counts
