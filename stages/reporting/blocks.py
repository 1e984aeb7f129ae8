"""The mined pairs as the report reads them: again and again, in blocks, since none needs to fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common import artifacts
from stages.common.errors import ArtifactError

BLOCK = 2**18  # pairs


class Block(NamedTuple):
    """M unordered pairs of image ids."""

    anchor: np.ndarray  # (M,) int64
    positive: np.ndarray  # (M,) int64
    similarity: np.ndarray  # (M,) float32

    def take(self, which: np.ndarray) -> Block:
        """The pairs at positions, or under a mask, `which`."""
        return Block(*(column[which] for column in self))

    def directed(self) -> Block:
        """(2M,) both ways round: each end of a pair once with its partner."""
        ends = (np.concatenate(both) for both in (self[:2], self[1::-1]))
        return Block(*ends, np.tile(self.similarity, 2))


Blocks = Callable[[], Iterable[Block]]  # every call goes through all pairs, in the same order


def pair_blocks(path: Path, manifest: Path, images: int) -> Blocks:
    """The pairs that `mine` wrote; `images` is how many `manifest` has.

    A block that names others raises ArtifactError, as does a file that is missing or not of pairs.
    """

    def read() -> Iterator[Block]:
        file = artifacts.open_parquet(path, artifacts.PAIRS, "mine")
        for batch in file.iter_batches(BLOCK):
            block = Block(*(column.to_numpy() for column in batch.columns))
            ends = np.concatenate(block[:2])
            if ends.min(initial=0) < 0 or ends.max(initial=-1) >= images:
                raise ArtifactError(path, f"names images that are not in {manifest}", "mine")
            yield block

    return read


def joined(parts: Iterable[Block]) -> Block:
    """One after the other."""
    empty = Block(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Block(*(np.concatenate(columns) for columns in zip(empty, *parts, strict=True)))


def most_similar(blocks: Iterable[Block], count: int) -> Block:
    """The `count` pairs of the highest similarity, those first; of equal ones the first in order.

    Holds one block beside them.
    """
    best = joined([])
    for block in blocks:
        both = joined([best, block])
        best = both.take(np.argsort(-both.similarity, kind="stable")[:count])
    return best
