"""The mined pairs as the report reads them: again and again, in blocks, since none needs to fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from stages.common import artifacts
from stages.common.errors import ArtifactError
from stages.common.pairs import Pairs, join

BLOCK = 2**18  # pairs


Blocks = Callable[[], Iterable[Pairs]]  # every call goes through all pairs, in the same order


def pair_blocks(path: Path, manifest: Path, images: int) -> Blocks:
    """The pairs that `mine` wrote; `images` is how many `manifest` has.

    A block that names others raises ArtifactError, as does a file that is missing or not of pairs.
    """

    def read() -> Iterator[Pairs]:
        file = artifacts.open_parquet(path, artifacts.PAIRS, "mine")
        for batch in file.iter_batches(BLOCK):
            block = Pairs(*(column.to_numpy() for column in batch.columns))
            ends = np.concatenate(block[:2])
            if ends.min(initial=0) < 0 or ends.max(initial=-1) >= images:
                raise ArtifactError(path, f"names images that are not in {manifest}", "mine")
            yield block

    return read


def most_similar(blocks: Iterable[Pairs], count: int) -> Pairs:
    """The `count` pairs of the highest similarity, those first; of equal ones the first in order.

    Holds one block beside them.
    """
    best = join([])
    for block in blocks:
        both = join([best, block])
        best = both.take(np.argsort(-both.similarity, kind="stable")[:count])
    return best
