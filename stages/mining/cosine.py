"""Similarity as in the paper: the cosine of two embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common.pairs import Pairs
from stages.common.progress import Progress
from stages.mining import pair_blocks
from stages.mining.estimate import expected_pairs, threshold_of
from stages.mining.rows import error_bound, similarity
from stages.mining.tally import Partners

HELD = 2**22  # partners in work at a time, about
FOUND = 5 * 10**7  # partners that are gone through, at most about
COMPARED = 4 * 10**9  # pairs of rows that are gone through for partners, at most
FEW = 64  # rows, at least, whatever is found
FEWEST = 2_000  # rows that are then compared with all, at least
SIMILARITIES = 2**22  # in work at a time, 16 MiB
BLOCK = 2**11  # rows whose partners come together


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

    def partners(self, lo: float) -> Iterator[Partners]:
        """All pairs of at least `lo` that some rows are in, block by block: of every row, or, of
        more than 63,000, of as many as 4 x 10^9 comparisons allow, drawn at random; of fewer if
        they have too many partners."""
        rows = len(self.x)
        partners = 2 * self.expected(lo, 1.0) / max(1, rows)  # of a row: all, if it is collapsed
        count = min(rows, max(FEWEST, COMPARED // max(1, rows)))
        if count * partners > FOUND:
            count = min(count, max(FEW, int(FOUND / partners)))
        block = max(1, min(BLOCK, int(HELD / max(1, partners))))
        rng = np.random.default_rng(self.seed)
        anchors = np.sort(rng.permutation(rows)[:count])
        step = SIMILARITIES // BLOCK
        with Progress("explore", count, "rows") as progress:
            for start in range(0, count, block):
                chosen = anchors[start : start + block]
                parts = [self._near(chosen, at, at + step, lo) for at in range(0, rows, step)]
                columns = zip(*parts, strict=True)
                yield Partners(chosen, *(np.concatenate(column) for column in columns))
                progress.advance(len(chosen))

    def _near(
        self, anchors: np.ndarray, start: int, stop: int, lo: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Place of the anchor (M,), partner in start:stop, and similarity of pairs of at least
        `lo`, by the formula that mining uses: counts do not depend on the BLAS."""
        fast = self.x[anchors] @ self.x[start:stop].T  # (A, stop - start)
        place, partner = np.nonzero(fast >= np.float32(lo) - error_bound(self.x.shape[1]))
        partner = partner + start
        other = anchors[place] != partner
        place, partner = place[other], partner[other]
        value = similarity(self.x, anchors[place], partner)
        near = value >= np.float32(lo)
        return place[near], partner[near], value[near]
