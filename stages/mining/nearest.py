"""The nearest rows of each row: exactly, part by part, within a given memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stages.common.progress import Progress
from stages.mining.engines.faiss import import_faiss
from stages.mining.rows import error_bound, ordered, similarity, unordered

SPARE = 8  # more than are asked for: the row itself, and what float32 may have misplaced
QUERIES = 2**14  # rows that are searched for at a time, at most
FEW = 256  # of them, where float32 cannot tell
FOUND = 100  # bytes for each row that is found, while it is ranked
PRODUCT = 64  # bytes for each product in float64, while it is ranked
NUMBERS = 2**31  # row numbers are below


def nearest(x: np.ndarray, count: int, memory: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, count) int32 rows nearest to each unit row of x (N, D), itself left out, the nearest
    first, and their float32 similarities, not below 0; of equally near ones the lowest numbers.

    The similarity is that of `rows.similarity`, so neither the BLAS nor the size of the parts can
    change the result. FAISS searches in float32 for a few rows more than are asked for. What it
    left out is less similar than the last of them, but for rounding: where that is not less than
    what is wanted, as among blank images, the products are computed again in float64.

    Args:
        memory: bytes, beside x and the result, of which x may be a file on the disk.
    """
    rows = len(x)
    near, value = np.empty((rows, count), np.int32), np.empty((rows, count), np.float32)
    step = _fitting(memory // 4, FOUND * (count + SPARE), QUERIES)
    with Progress("neighbours", rows, "rows") as progress:
        for start in range(0, rows, step):
            queries = np.arange(start, min(start + step, rows))
            keys, sure = _fast(x, queries, count, memory // 4)
            unsure = np.flatnonzero(~sure)
            for some in np.array_split(unsure, -(-len(unsure) // FEW) or 1):
                keys[some] = _exact(x, queries[some], count, memory // 2)
            block = slice(start, start + len(queries))
            value[block], near[block] = _split(keys)
            progress.advance(len(queries))
    return near, np.maximum(value, 0, out=value)


def _fast(
    x: np.ndarray, queries: np.ndarray, count: int, memory: int
) -> tuple[np.ndarray, np.ndarray]:
    """(B, count) keys of the rows nearest to the rows `queries` (B,), highest first; and (B,)
    whether it is sure that they are."""
    faiss, most = import_faiss(), min(len(x), count + SPARE)
    one = np.ascontiguousarray(x[queries[0] : queries[-1] + 1])
    value, found = np.empty((len(one), 0), np.float32), np.empty((len(one), 0), np.int64)
    for start, part in _parts(x, memory, 4 * x.shape[1]):
        part = np.ascontiguousarray(part)
        more = faiss.knn(one, part, min(most, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        value = np.concatenate([value, more[0]], axis=1)
        found = np.concatenate([found, more[1] + start], axis=1)
        if value.shape[1] > most:
            highest = np.argpartition(value, -most, axis=1)[:, -most:]
            value = np.take_along_axis(value, highest, axis=1)
            found = np.take_along_axis(found, highest, axis=1)
    exact = similarity(x, np.repeat(queries, most), found.ravel()).reshape(found.shape)
    keys = _highest(_keys(exact, found, queries), count)
    last = value.min(axis=1) + error_bound(x.shape[1])  # no row left out is more similar
    return keys, (_split(keys)[0][:, -1] > last) | (most == len(x))


def _exact(x: np.ndarray, queries: np.ndarray, count: int, memory: int) -> np.ndarray:
    """(B, count) keys of the rows nearest to the rows `queries` (B,), highest first."""
    keys = np.full((len(queries), count), -1, np.int64)
    one = x[queries].astype(np.float64)
    slack = 4 * x.shape[1] * 2.0**-53  # of two sums in another order, of unit rows
    for start, part in _parts(x, memory, 16 * x.shape[1] + PRODUCT * FEW):
        product = one @ part.astype(np.float64).T
        value = (product - slack).astype(np.float32)
        i, j = np.nonzero(value != (product + slack).astype(np.float32))
        value[i, j] = similarity(x, queries[i], j + start)
        np.clip(value, -1, 1, out=value)
        more = _keys(value, np.arange(start, start + len(part)), queries)
        keys = np.concatenate([keys, more], axis=1)
        keys = np.partition(keys, -count, axis=1)[:, -count:]
    return _highest(keys, count)


def _parts(x: np.ndarray, memory: int, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Where parts of x start, and these: as many rows as fit in `memory`, of `size` bytes each."""
    step = _fitting(memory, size, len(x))
    return ((start, x[start : start + step]) for start in range(0, len(x), step))


def _fitting(memory: int, size: int, most: int) -> int:
    return max(FEW, min(memory // size, most))


def _keys(value: np.ndarray, numbers: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(B, M) int64: the higher, the more similar, and the lower the row number where they are
    equally so; of the row itself, -1. All are different."""
    keys = ordered(value) * NUMBERS + (NUMBERS - 1 - numbers)
    keys[numbers == queries[:, None]] = -1
    return keys


def _split(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and row numbers."""
    return unordered(keys // NUMBERS), NUMBERS - 1 - keys % NUMBERS


def _highest(keys: np.ndarray, count: int) -> np.ndarray:
    return -np.sort(-keys, axis=1)[:, :count]
