"""What is done to embeddings before they are compared: nothing (the paper), centring or whitening.

A cosine means another thing after each, so thresholds do not carry over, while counts of pairs do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from stages.common.unit import unit_rows

log = logging.getLogger(__name__)
TRANSFORMS = ("none", "center", "whiten")
BLOCK = 2**22  # float64 values in work at a time, 32 MiB
NOTHING = 1e-6  # in every component: only rounding is left of a unit row


def transform_rows(
    x: np.ndarray, name: str, shrinkage: float, ids: np.ndarray | None = None, source: object = "x"
) -> None:
    """Replace the unit rows x (N, D) float32 by their transform, unit again, in place.

    ``center`` subtracts the mean row. ``whiten`` then divides each principal component by
    sigma_k + shrinkage * sigma_1, sigma_k being its standard deviation over the N rows. The fit is
    in float64, sums over blocks in their order, in one pass: memory is one block and a (D, D)
    matrix, whatever N.

    Raises EmbeddingError for rows of which nothing is left, as of a collapsed sampler's, named by
    `ids` (N,) and `source`.
    """
    if name == "none" or not len(x):
        return
    mean, matrix = _fit(x, shrinkage if name == "whiten" else None)
    names = np.arange(len(x)) if ids is None else ids
    for rows in _blocks(x):
        values = x[rows] - mean  # float32, as x
        values[np.abs(values).max(axis=1) < NOTHING] = 0
        x[rows] = unit_rows(values if matrix is None else values @ matrix, names[rows], source)
    log.info("sepp.transform %s: fitted on %s embeddings", name, f"{len(x):,}")


def _fit(x: np.ndarray, shrinkage: float | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The mean (D,), and the matrix (D, D) that whitens rows less the mean; None to centre only."""
    dim = x.shape[1]
    total = np.zeros(dim)
    products = np.zeros((dim, dim)) if shrinkage is not None else None
    for rows in _blocks(x):
        block = x[rows].astype(np.float64)
        total += block.sum(axis=0)
        if products is not None:
            products += block.T @ block
    mean = total / len(x)
    if products is None:
        return mean.astype(np.float32), None
    variance, axes = np.linalg.eigh(products / len(x) - np.outer(mean, mean))  # ascending
    sigma = np.sqrt(np.maximum(variance, 0))
    floor = sigma[-1] * max(shrinkage, 1e-6)  # of a component without variance, not a division by 0
    scaled = axes / (sigma + floor) * sigma[-1]  # so that float32 holds it well
    return mean.astype(np.float32), scaled.astype(np.float32)


def _blocks(x: np.ndarray) -> Iterator[slice]:
    step = max(1, BLOCK // max(1, x.shape[1]))
    return (slice(start, start + step) for start in range(0, len(x), step))
