"""Similarity as in the paper: the cosine of two embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.mining import pair_blocks
from stages.mining.advice import advise
from stages.mining.curve import threshold_curve
from stages.mining.estimate import expected_pairs, threshold_of
from stages.mining.pairs import Pairs


class Cosine(NamedTuple):
    """Pairs of the unit rows x (N, D), by an engine; the interface is that of `walk.Walk`."""

    x: np.ndarray
    seed: int  # of the samples by which counts are estimated
    engine: str
    memory: int  # bytes
    scratch: Path
    lowest = -1.0  # similarity that there can be

    def blocks(self, lo: float, hi: float) -> Iterator[Pairs]:
        return pair_blocks(self.x, lo, hi, self.engine, self.memory, self.scratch)

    def expected(self, lo: float, hi: float) -> float:
        return expected_pairs(self.x, lo, hi, self.seed)

    def threshold(self, count: float, hi: float) -> float:
        return threshold_of(self.x, count, hi, self.seed)

    def curve(self, labels: np.ndarray) -> list[dict]:
        return threshold_curve(self.x, labels, self.seed)

    def advice(self, lo: float, hi: float) -> str:
        return advise(self.x, lo, hi, self.engine, self.memory, self.scratch)
