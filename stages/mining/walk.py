"""Similarity by shared neighbourhoods: the cosine of where two short random walks arrive.

Two images that are near to the same images are alike even where they are not each other's nearest,
and one odd neighbour counts for little: pairs are more often right than by the cosine of their
embeddings, and are spread over more images.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import scipy.sparse as sparse

from stages.common.progress import Progress
from stages.mining.curve import Bins, lowest_edge
from stages.mining.pairs import Pairs
from stages.mining.rows import similarity

POWER = 4  # of the cosine, as an edge's weight: near neighbours count more
BLOCK = 2_048  # rows whose pairs are in work at a time; each has about (2 k)^2
RESOLUTION = 1_000  # steps of similarity that are counted apart


class Walk:
    """Pairs of unit rows x (N, D) by random walks over the `neighbours` nearest of each row.

    Edges weigh cosine ** 4, twice where both rows list each other; every row has a loop as heavy as
    its heaviest edge. With W the weights and D its row sums, P = D^-1/2 W D^-1/2 is one step, and
    the similarity of i and j is P^2[i, j] / sqrt(P^2[i, i] P^2[j, j]), the cosine of rows i and j
    of P: in [0, 1]. Rows without a common neighbour are no pair. Memory: the rows once more, about
    60 k N bytes for P, and a block of its square, some 100 (2 k)^2 bytes for each of 2,048 rows; it
    is not held to `sepp.memory`.
    """

    lowest = 0.0  # similarity that there can be

    def __init__(self, x: np.ndarray, neighbours: int) -> None:
        self.rows = len(x)
        step = _step(x, min(neighbours, len(x) - 1)) if len(x) > 1 else sparse.csr_matrix((0, 0))
        norms = np.sqrt(step.multiply(step).sum(axis=1)).A1 if step.shape[0] else np.ones(0)
        self.unit = (sparse.diags(1 / norms) @ step).tocsr() if step.shape[0] else step

    def blocks(self, lo: float, hi: float) -> Iterator[Pairs]:
        """Pairs with lo <= similarity <= hi, as float32 and above 0, sorted, each once."""
        with Progress("mine", self.rows, "rows") as progress:
            for pairs in self._all():
                value = pairs.similarity
                yield pairs.take((np.float32(lo) <= value) & (value <= np.float32(hi)))
                progress.advance(min(BLOCK, self.rows - progress.done))

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

    def curve(self, labels: np.ndarray) -> list[dict]:
        """The threshold curve, over all pairs."""
        bins = Bins(lowest_edge(self.threshold(4 * self.rows, 1.0)), self.rows)
        for pairs in self._all():
            bins.add(*pairs, labels)
        return bins.table()

    def advice(self, lo: float, hi: float) -> str:
        """One line on why no pair has a similarity in [lo, hi]."""
        found = np.flatnonzero(self.counts)
        if not len(found):
            return f"{self.rows} embedded images have no common neighbours: raise embed.k"
        if hi <= 0:
            return "walks have similarities above 0: raise sepp.max"
        best = found[-1] / RESOLUTION
        useful = self.threshold(self.rows, hi)
        return (
            f"no pair of {self.rows:,} images has a similarity in [{lo}, {hi}]; the highest has "
            f"about {best:.3f}: sepp.min={useful} would give about "
            f"{self.expected(useful, hi):,.0f} pairs"
        )

    @cached_property
    def counts(self) -> np.ndarray:
        """(1001,) pairs by similarity, rounded down to 0.001."""
        counts = np.zeros(RESOLUTION + 1, np.int64)
        for pairs in self._all():
            bins = np.floor(pairs.similarity.astype(np.float64) * RESOLUTION + 1e-3)
            counts += np.bincount(bins.astype(np.int64), minlength=len(counts))[: len(counts)]
        return counts

    def _all(self) -> Iterator[Pairs]:
        other = self.unit.T.tocsc()
        for start in range(0, self.rows, BLOCK):
            block = (self.unit[start : start + BLOCK] @ other).tocoo()
            anchor, positive = block.row.astype(np.int64) + start, block.col.astype(np.int64)
            keep = (anchor < positive) & (block.data > 0)
            order = np.lexsort((positive[keep], anchor[keep]))
            value = np.clip(block.data[keep], 0, 1).astype(np.float32)
            yield Pairs(anchor[keep], positive[keep], value).take(order)


def _step(x: np.ndarray, neighbours: int) -> sparse.csr_matrix:
    """P (N, N), symmetric: one step of the walk."""
    near, weight = nearest(x, neighbours)
    rows = len(x)
    starts = np.arange(0, rows * neighbours + 1, neighbours)
    listed = sparse.csr_matrix((weight.ravel() ** POWER, near.ravel(), starts), (rows, rows))
    edges = (listed + listed.T).tocsr()
    loops = edges.max(axis=1).toarray().ravel() + 1e-6
    edges = (edges + sparse.diags(loops)).tocsr()
    scale = sparse.diags(1 / np.sqrt(np.asarray(edges.sum(axis=1)).ravel()))
    return (scale @ edges @ scale).tocsr()


def nearest(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, count) rows nearest to each unit row of x, itself left out, and their similarities, not
    below 0. By exact search. Of up to eight that are as near as the last, those of the lowest
    number are taken; of more (blank images, say), those that FAISS names first."""
    import faiss  # here: it takes half a second to load, and only walks need it

    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    near = np.empty((len(x), count), np.int64)
    value = np.empty((len(x), count))
    spare = min(len(x), count + 8)  # its own row, and others that rounding may have misplaced
    with Progress("neighbours", len(x), "rows") as progress:
        for start in range(0, len(x), BLOCK):
            stop = min(start + BLOCK, len(x))
            found = index.search(x[start:stop], spare)[1]
            rows = np.repeat(np.arange(start, stop), spare)
            exact = similarity(x, rows, found.ravel()).reshape(found.shape).astype(np.float64)
            exact[found == np.arange(start, stop)[:, None]] = -np.inf
            order = np.lexsort((found, -exact), axis=1)[:, :count]
            near[start:stop] = np.take_along_axis(found, order, axis=1)
            value[start:stop] = np.take_along_axis(exact, order, axis=1)
            progress.advance(stop - start)
    return near, np.maximum(value, 0)
