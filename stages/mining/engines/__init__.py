"""Engines: each proposes the pairs of rows that may lie in an interval, in its own way.

``candidates(x, lo, hi, means)``: x is (N, D) float32 of unit rows. Yields ``(i, j)``, (M,) int64
row numbers, i and j never the same row, in any order. A pair whose float32 dot product lies in
[lo, hi] is found at least once (by `ivf`, most are); others do no harm. Advances `means.progress`
by N rows in all.
"""

from __future__ import annotations

import logging

import numpy as np

from stages.common.errors import SeppError
from stages.mining.engines import faiss, ivf, pruned, ray
from stages.mining.engines._contract import Candidates, Means

log = logging.getLogger(__name__)
ENGINES = {
    "faiss": faiss.candidates,
    "pruned": pruned.candidates,
    "ray": ray.candidates,
    "ivf": ivf.candidates,
}
FEW = 8_192  # rows that FAISS has joined before torch is loaded


def candidates(x: np.ndarray, lo: float, hi: float, engine: str, means: Means) -> Candidates:
    """What `engine` finds; for auto it is chosen by the number of rows, and the log says why."""
    if engine == "auto":
        engine, why = ("faiss", "few enough") if len(x) <= FEW else ("pruned", "too many")
        log.info(
            "sepp.engine auto: %s, as %s rows are %s for a search of all",
            engine,
            f"{len(x):,}",
            why,
        )
    if engine not in ENGINES:
        raise SeppError(f"sepp.engine: no engine {engine!r}; there are auto, {', '.join(ENGINES)}")
    return ENGINES[engine](x, lo, hi, means)
