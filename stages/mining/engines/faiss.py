"""Candidates by FAISS: an exact search over all pairs of rows, on all cores or on the GPUs."""

from __future__ import annotations

import logging
from types import ModuleType

import numpy as np

from stages.common.errors import SeppError
from stages.mining.engines._contract import Candidates, Means

HIT = 24  # bytes of one result, which FAISS gathers from its threads
HIGH = 2048  # rows of a search
NEIGHBOURS = 64  # of a row, which a GPU looks for; where there may be more, the CPU does
FEW = 64  # such rows at a time


def candidates(x: np.ndarray, lo: float, hi: float, means: Means) -> Candidates:
    """Blocks (i, j), i < j, of the rows of x (N, D) whose float32 dot product is inside.

    Memory: the results above `lo` of one search, which even if all rows are alike fit in a quarter
    of `means.memory` (or in 100 MB). On GPUs, a copy of x on each.

    Raises SeppError if FAISS is not installed.
    """
    faiss, rows = import_faiss(), len(x)
    if faiss.get_num_gpus():
        yield from _by_neighbours(_gpu_index(faiss, x), x, lo, hi, means)
        return
    wide = max(means.memory // 4 // (HIT * HIGH), HIGH)
    for start in range(0, rows, HIGH):
        queries = np.ascontiguousarray(x[start : start + HIGH])
        for other in range(start, rows, wide):  # from the queries on: half of the work
            i, j, value = _in_range(queries, x[other : other + wide], lo)
            i, j = i + start, j + other
            keep = (i < j) & (value <= hi)
            yield i[keep], j[keep]
        means.progress.advance(len(queries))


def _by_neighbours(index, x: np.ndarray, lo: float, hi: float, means: Means) -> Candidates:
    """A flat index on a GPU has no range search: so the nearest few of each row, and a range search
    on the CPU for those rows whose few are all in range."""
    for start in range(0, len(x), HIGH):
        queries = np.ascontiguousarray(x[start : start + HIGH])
        value, j = index.search(queries, min(NEIGHBOURS, len(x)))  # (B, k), highest first
        full = np.flatnonzero(value[:, -1] >= lo)
        value[full] = -np.inf
        i, column = np.nonzero((value >= lo) & (value <= hi))
        found = [(i + start, j[i, column])]
        for first in range(0, len(full), FEW):
            some = full[first : first + FEW]
            i, others, value = _in_range(queries[some], x[start:], lo)
            found.append((some[i[value <= hi]] + start, others[value <= hi] + start))
        means.progress.advance(len(queries))
        i, j = (np.concatenate(column) for column in zip(*found, strict=True))
        yield i[i < j], j[i < j]


def _in_range(
    queries: np.ndarray, rows: np.ndarray, lo: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M,) row numbers of queries (B, D) and of rows (N, D), and their float32 dot products: those
    above `lo` (the slack of the caller covers those at it). Nothing is copied."""
    faiss, size = import_faiss(), len(queries)
    queries, rows = np.ascontiguousarray(queries), np.ascontiguousarray(rows)
    result = faiss.RangeSearchResult(size)
    arrays = faiss.swig_ptr(queries), faiss.swig_ptr(rows)
    faiss.range_search_inner_product(*arrays, rows.shape[1], size, len(rows), float(lo), result)
    limits = faiss.rev_swig_ptr(result.lims, size + 1)
    count = int(limits[-1])
    values = faiss.rev_swig_ptr(result.distances, count).copy()
    found = faiss.rev_swig_ptr(result.labels, count).copy()
    return numbers(limits), found, values


def numbers(limits: np.ndarray) -> np.ndarray:
    """(M,) int64: the number, from 0, of the query of each result; limits: (B + 1,) as FAISS's."""
    hits = np.diff(limits.astype(np.int64))  # uint64 would wrap
    return np.repeat(np.arange(len(hits)), hits)


def _gpu_index(faiss: ModuleType, x: np.ndarray):  # -> faiss.Index
    index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(x.shape[1]))
    for start in range(0, len(x), 2**16):
        index.add(np.ascontiguousarray(x[start : start + 2**16]))
    return index


def import_faiss() -> ModuleType:
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells of each CPU it tries
    try:
        import faiss  # here, since it is slow to load and only these functions need it
    except (ImportError, RuntimeError) as error:  # faiss-gpu without CUDA's runtime beside it
        raise SeppError(
            f"sepp.engine faiss: cannot be imported ({' '.join(str(error).split())}); run "
            "`pip install faiss-cpu` (or faiss-gpu instead: never have both installed)"
        ) from None
    return faiss
