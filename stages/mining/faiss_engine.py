"""Candidates by FAISS: an exact range search over all pairs of rows, on all cores."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from stages.common.errors import SeppError
from stages.common.progress import Progress

HITS = 2**26  # most results of one search, 12 bytes each, twice while FAISS gathers them
FEWEST, MOST = 64, 2048  # rows of a search, so that it stays one efficient matrix product


def candidates(
    x: np.ndarray, lo: float, hi: float, progress: Progress
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks (i, j), i < j, of the rows of x (N, D) whose float32 dot product is in [lo, hi].

    Blocks of rows are indexed from the last to the first, and each is searched as soon as it is
    in: it meets only rows from its own start on, which halves the work.

    Memory: up to two copies of x, as the index grows, and the results above `lo` of one block of
    rows. These are few at a sensible `lo`; at the worst (all rows alike) a block of B rows has
    B * N of them, and B is chosen such that this is at most 2**26 (1.6 GB) up to N = 2**20.

    Raises SeppError if FAISS is not installed.
    """
    faiss = _import_faiss()
    rows, dim = x.shape
    index = faiss.IndexFlatIP(dim)
    step = min(max(HITS // max(rows, 1), FEWEST), MOST)
    for stop in range(rows, 0, -step):
        start = max(0, stop - step)
        index.add(np.ascontiguousarray(x[start:stop][::-1]))  # so position p is row N - 1 - p
        # FAISS keeps what is above, not at, the radius; the slack of the caller covers that.
        limits, values, positions = index.range_search(x[start:stop], lo)
        hits = np.diff(limits.astype(np.int64))  # (stop - start,); uint64 would wrap
        i = np.repeat(np.arange(start, stop, dtype=np.int64), hits)
        j = rows - 1 - positions
        keep = (i < j) & (values <= hi)
        progress.advance(stop - start)
        yield i[keep], j[keep]


def _import_faiss() -> ModuleType:
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells of each CPU it tries
    try:
        import faiss  # here, since it is slow to load and only this function needs it
    except ImportError as error:
        raise SeppError(
            f"sepp.engine faiss: cannot be imported ({' '.join(str(error).split())}); run "
            "`pip install faiss-cpu` (or faiss-gpu instead: never have both installed)"
        ) from None
    return faiss
