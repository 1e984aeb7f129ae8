"""The graph of nearest rows, and how alike two steps of a random walk over it are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sparse

from stages.common.pairs import Pairs
from stages.mining.nearest import nearest

POWER = 4  # of the cosine, as an edge's weight: near neighbours count more
ROWS = 2**14  # whose edges are in work at a time
PAIRS = 2**22  # that are in work at a time, at most
BYTES = 64  # of a pair in work


def memory_needed(rows: int, neighbours: int) -> int:
    """Bytes that walks over the `neighbours` nearest of so many rows take at least: what is held
    while the graph is made, or later with the pairs of a row that has all others near."""
    return rows * max(40 * neighbours + 60, 24 * neighbours + 60 + 2 * BYTES)


class Graph:
    """The `neighbours` nearest of each unit row of x (N, D), and two steps of a walk over them.

    Edges weigh cosine ** 4, twice where both rows list each other; every row has a loop as heavy as
    its heaviest edge. With W the weights and D its row sums, P = D^-1/2 W D^-1/2 is one step. Only
    W is held, which is symmetric to the bit: 12 bytes for each of at most (2 k + 1) N edges.

    Args:
        memory: bytes, beside x, which is needed to make the graph only; see `memory_needed`.
    """

    def __init__(self, x: np.ndarray, neighbours: int, memory: int) -> None:
        self.rows, count = len(x), min(neighbours, len(x) - 1)
        self.weights = sparse.csr_matrix((self.rows, self.rows))
        if count > 0:
            self.weights = _weights(*nearest(x, count, memory - 8 * count * self.rows))
        self.scale = 1 / (self.weights @ np.ones(self.rows)) if count > 0 else np.ones(self.rows)
        self.norm = np.empty(self.rows)  # of the rows of W D^-1/2
        self.reach = np.empty(self.rows, np.int64)  # pairs of each row, at most
        edges = np.diff(self.weights.indptr)
        for start in range(0, self.rows if count > 0 else 0, ROWS):
            block, left = slice(start, start + ROWS), self._scaled(start, start + ROWS)
            first = self.weights.indptr[start]
            right = self.weights.data[first : first + left.nnz]
            self.norm[block] = np.sqrt(np.add.reduceat(left.data * right, left.indptr[:-1]))
            self.reach[block] = np.add.reduceat(
                edges[left.indices], left.indptr[:-1], dtype=np.int64
            )
        np.minimum(self.reach, self.rows, out=self.reach)
        self.left = max(0, memory - 12 * self.weights.nnz - 60 * self.rows)  # bytes for pairs

    def pairs(self, lo: float, memory: int, both: bool = False) -> Iterator[tuple[slice, Pairs]]:
        """Pairs with a common neighbour and a similarity of at least `lo`, as float32, sorted; in
        blocks of so many rows as `memory` bytes hold, with these. `both`: each pair from both ends.

        The similarity of i and j is the fourth root of P^2[i, j] / sqrt(P^2[i, i] P^2[j, j]), the
        cosine of rows i and j of P, or of W D^-1/2, which differ by a factor for each row. The root
        takes back the fourth power of the edges: thresholds then are of a cosine's size.
        """
        if not self.weights.nnz:
            return
        total = np.concatenate([[0], np.cumsum(self.reach)])
        start, most = 0, min(PAIRS, memory // BYTES)
        while start < self.rows:
            fits = int(np.searchsorted(total, total[start] + most, "right")) - 1
            stop = min(max(start + 1, fits), self.rows)
            yield slice(start, stop), self._block(start, stop, lo, both)
            start = stop

    def _block(self, start: int, stop: int, lo: float, both: bool) -> Pairs:
        square = self._scaled(start, stop) @ self.weights
        square.sort_indices()
        anchor = np.repeat(np.arange(start, stop), np.diff(square.indptr))
        chosen = square.indices != anchor if both else square.indices > anchor
        anchor, positive, value = anchor[chosen], square.indices[chosen], square.data[chosen]
        del square, chosen
        common = value > 0
        value /= self.norm[anchor]
        value /= self.norm[positive]
        # Two square roots, which every machine rounds alike.
        value = np.sqrt(np.sqrt(np.clip(value, 0, 1, out=value))).astype(np.float32)
        keep = common & (value >= np.float32(lo))
        return Pairs(anchor[keep], positive[keep].astype(np.int64), value[keep])

    def _scaled(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows start to stop of W D^-1."""
        starts = self.weights.indptr[start : stop + 1]
        inside = slice(starts[0], starts[-1])
        indices = self.weights.indices[inside]
        data = self.weights.data[inside] * self.scale[indices]
        shape = (len(starts) - 1, self.rows)
        return sparse.csr_matrix((data, indices, starts - starts[0]), shape)


def _weights(near: np.ndarray, cosine: np.ndarray) -> sparse.csr_matrix:
    """W (N, N) float64 of the rows near to each, (N, k), and their float32 cosines."""
    rows, count = near.shape
    most = (2 * count + 1) * rows
    kind = np.int32 if most < 2**31 else np.int64
    starts = np.arange(0, rows * count + 1, count, dtype=kind)
    lists = sparse.csr_matrix((cosine.ravel(), near.ravel(), starts), (rows, rows))
    listed = lists.T.tocsr()
    # What is never written of these takes no memory.
    data, indices = np.empty(most), np.empty(most, kind)
    starts = np.zeros(rows + 1, kind)
    for start in range(0, rows, ROWS):
        edges = _powers(lists[start : start + ROWS]) + _powers(listed[start : start + ROWS])
        loops = edges.max(axis=1).toarray().ravel() + 1e-6
        size = len(loops)
        own = (np.arange(size), np.arange(start, start + size))
        edges = edges + sparse.csr_matrix((loops, own), (size, rows))
        first = starts[start]
        starts[start + 1 : start + size + 1] = first + edges.indptr[1:]
        data[first : first + edges.nnz] = edges.data
        indices[first : first + edges.nnz] = edges.indices
    return sparse.csr_matrix((data[: starts[-1]], indices[: starts[-1]], starts), (rows, rows))


def _powers(cosines: sparse.csr_matrix) -> sparse.csr_matrix:
    weights = cosines.astype(np.float64)
    weights.data **= POWER
    weights.sort_indices()
    return weights
