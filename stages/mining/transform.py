"""What is done to embeddings before they are compared: nothing (the paper), centring or whitening.

A cosine means another thing after each, so thresholds do not carry over, while counts of pairs do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from stages.common.unit import unit_rows

log = logging.getLogger(__name__)
TRANSFORMS = ("none", "center", "whiten")
BLOCK = 2**17  # values that are transformed at a time, which a core's cache holds
FIT = 2**20  # float64 values that are summed at a time, 8 MiB, or more if rows are long
MEMORY = 2**28  # bytes that sums may take, of all threads together
NOTHING = 1e-6  # in every component: only rounding is left of a unit row


def transform_rows(
    x: np.ndarray, name: str, shrinkage: float, ids: np.ndarray | None = None, source: object = "x"
) -> None:
    """Replace the unit rows x (N, D) float32 by their transform, unit again, in place.

    ``center`` subtracts the mean row. ``whiten`` then divides each principal component by
    sigma_k + shrinkage * sigma_1, sigma_k being its standard deviation over the N rows. The fit is
    in float64, of sums over blocks, which are added in their order: so on one machine the rows are
    the same, bit for bit, with any number of threads; another BLAS or processor may round in
    another way. Memory: a (D, D) matrix and, of each thread, a block; up to 256 MiB, whatever N.

    Raises EmbeddingError for rows of which nothing is left, as of a collapsed sampler's, named by
    `ids` (N,) and `source`.
    """
    if name == "none" or not len(x):
        return
    names = np.arange(len(x)) if ids is None else ids

    with _one_thread_each() as threads:
        mean, matrix = _fit(x, shrinkage if name == "whiten" else None, threads)

        def change(rows: slice) -> None:
            values = x[rows] - mean  # float32, as x
            values[_is_nothing(values)] = 0
            x[rows] = unit_rows(values if matrix is None else values @ matrix, names[rows], source)

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(change, _blocks(x, max(1, BLOCK // x.shape[1]))):
                pass
    log.info("sepp.transform %s: fitted on %s embeddings", name, f"{len(x):,}")


def _is_nothing(values: np.ndarray) -> np.ndarray:
    """(B,) rows of values (B, D) that are nearly 0 in every component."""
    nothing = np.einsum("nd,nd->n", values, values) < 2 * values.shape[1] * NOTHING**2
    nothing[nothing] = np.abs(values[nothing]).max(axis=1, initial=0) < NOTHING
    return nothing


def _fit(
    x: np.ndarray, shrinkage: float | None, threads: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The mean (D,), and the matrix (D, D) that whitens rows less the mean; None to centre only."""
    dim = x.shape[1]
    step = max(1, FIT // dim) if shrinkage is None else max(FIT // dim, dim)

    def sums(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        block = x[rows].astype(np.float64)
        # NumPy sees that this is symmetric, and computes a half.
        return block.sum(axis=0), np.zeros(0) if shrinkage is None else block.T @ block

    total, products = np.zeros(dim), np.zeros(0 if shrinkage is None else (dim, dim))
    for some, more in _in_order(sums, _blocks(x, step), min(threads, MEMORY // (16 * step * dim))):
        total += some
        products += more
    mean = total / len(x)
    if shrinkage is None:
        return mean.astype(np.float32), None
    variance, axes = np.linalg.eigh(products / len(x) - np.outer(mean, mean))  # ascending
    sigma = np.sqrt(np.maximum(variance, 0))
    floor = sigma[-1] * max(shrinkage, 1e-6)  # of a component without variance, not a division by 0
    scaled = axes / (sigma + floor) * sigma[-1]  # so that float32 holds it well
    return mean.astype(np.float32), scaled.astype(np.float32)


def _blocks(x: np.ndarray, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, len(x), step))


def _in_order(run: Callable, items: Iterator, threads: int) -> Iterator:
    """What `run` gives of each item, in their order; of no more at a time than there are threads,
    since a result may be large."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        while some := list(islice(items, max(1, threads))):
            yield from pool.map(run, some)


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """How many threads the BLAS would use; until the end it has one for each of its callers."""
    threads = max(
        (of["num_threads"] for of in threadpool_info() if of["user_api"] == "blas"), default=1
    )
    with threadpool_limits(1, "blas"):
        yield threads
