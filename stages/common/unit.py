"""Rows of embeddings made unit, and checked: what has no direction has no cosine similarity."""

from __future__ import annotations

import numpy as np

from stages.common.errors import EmbeddingError

UNIT = 2.5e-7  # a norm this near to 1 is left as it is, bit for bit
BLOCK = 2**17  # float64 values in work at a time, 1 MiB, which a core's cache holds


def unit_rows(
    embeddings: np.ndarray, ids: np.ndarray | None = None, source: object = "embeddings"
) -> np.ndarray:
    """(N, D) float32 rows of unit norm; the very same array if they are so already.

    Raises EmbeddingError that names the first rows which are NaN, infinite or zero: by `ids` (N,)
    if given, else by row number; and `source`, e.g. their file.
    """
    x = np.ascontiguousarray(embeddings, dtype=np.float32)
    if x.ndim != 2:
        raise ValueError(f"embeddings have shape {x.shape}, not (N, D)")
    norms = _norms(x)
    names, noun = (np.arange(len(x)), "row") if ids is None else (ids, "image")
    for bad, problem, cause in (
        (~np.isfinite(norms), "NaN or infinite", "diverged (a lower base_lr of its method helps)"),
        (norms == 0, "of zero norm", "collapsed (another method, or more epochs, may help)"),
    ):
        if bad.any():
            first = ", ".join(str(name) for name in names[bad][:3])
            more = f" and {bad.sum() - 3:,} more" if bad.sum() > 3 else ""
            raise EmbeddingError(
                f"{source}: {noun} {first}{more}: {problem}, so without a cosine similarity; "
                f"the encoder has {cause}: change its section in params.yaml and run `dvc repro`"
            )
    scale = np.where(np.abs(norms - 1) > UNIT, norms, 1)
    if (scale == 1).all():
        return x
    unit = np.empty_like(x) if np.may_share_memory(x, embeddings) else x
    step = max(1, BLOCK // max(1, x.shape[1]))
    for start in range(0, len(x), step):
        block = slice(start, start + step)
        values = x[block].astype(np.float64)
        unit[block] = np.divide(values, scale[block, None], out=values)  # by 1: the same bits
    return unit


def _norms(x: np.ndarray) -> np.ndarray:
    """(N,) float64. In float64 the squares of no float32 overflow, or vanish."""
    norms = np.empty(len(x))
    step = max(1, BLOCK // max(1, x.shape[1]))
    for start in range(0, len(x), step):
        block = x[start : start + step].astype(np.float64)
        norms[start : start + step] = np.sqrt(np.square(block, out=block).sum(axis=1))
    return norms
