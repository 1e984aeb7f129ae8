"""Pairs of images, or of rows of embeddings, a block at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Pairs(NamedTuple):
    """M unordered pairs, each once; as mining gives them, sorted by (anchor, positive)."""

    anchor: np.ndarray  # (M,) int64, anchor < positive
    positive: np.ndarray  # (M,) int64
    similarity: np.ndarray  # (M,) float32, in [-1, 1]

    def take(self, which: np.ndarray | slice) -> Pairs:
        """The pairs at positions, in a slice, or under a mask, `which`."""
        return Pairs(*(column[which] for column in self))

    def directed(self) -> Pairs:
        """(2M,) both ways round: each end of a pair once with its partner, as its anchor."""
        ends = (np.concatenate(both) for both in (self[:2], self[1::-1]))
        return Pairs(*ends, np.tile(self.similarity, 2))


def join(parts: Iterable[Pairs]) -> Pairs:
    """One after the other."""
    empty = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Pairs(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))
