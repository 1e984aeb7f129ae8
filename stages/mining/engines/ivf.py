"""Candidates by FAISS's inverted file: approximate, for sets beyond what an exact join can do.

Rows are assigned to the nearest of about sqrt(N) centroids, and each meets only the rows of its
nearest cells. `stages.mining.recall` measures on a sample what that misses.
"""

from __future__ import annotations

import math

import numpy as np

from stages.common.errors import SeppError
from stages.mining.engines._contract import Candidates, Means
from stages.mining.engines.faiss import import_faiss, numbers

BLOCK = 2048  # rows of a search
TRAINING = 64  # rows a centroid is trained on, at most
PROBES = 16  # cells that a row meets


def candidates(x: np.ndarray, lo: float, hi: float, means: Means) -> Candidates:
    """Blocks (i, j), i < j, of those rows of x (N, D) whose float32 dot product is inside
    and which a search from i finds.

    Memory: a copy of x, and the results of one block of rows.

    Raises SeppError if the copy is above `means.memory`.
    """
    if x.nbytes > means.memory:
        raise SeppError(
            f"sepp.memory: sepp.engine ivf takes {x.nbytes / 2**30:.3g} GiB for {len(x):,} rows of "
            f"{x.shape[1]}, and may take {means.memory / 2**30:.3g}: raise it in params.yaml"
        )
    if len(x) < 2:
        means.progress.advance(len(x))
        return
    index, rows = _index(x), len(x)
    for start in range(0, rows, BLOCK):
        limits, values, j = index.range_search(x[start : start + BLOCK], lo)
        i = numbers(limits) + start
        keep = (i < j) & (values <= hi)
        means.progress.advance(len(limits) - 1)
        yield i[keep], j[keep]


def _index(x: np.ndarray):  # -> faiss.IndexIVFFlat
    faiss = import_faiss()
    rows, dim = x.shape
    cells = max(1, round(math.sqrt(rows)))
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(rows, min(rows, TRAINING * cells), replace=False))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = 0
    index.cp.min_points_per_centroid = 1
    index.nprobe = min(cells, PROBES)
    index.train(x[sample])
    for start in range(0, rows, BLOCK):
        index.add(x[start : start + BLOCK])
    return index
