"""The threshold curve: how many pairs each similarity holds, and how many of them are right."""

from __future__ import annotations

import numpy as np

from stages.common.intervals import accuracy_interval
from stages.common.progress import Progress
from stages.common.unit import unit_rows
from stages.mining.estimate import threshold_of
from stages.mining.rows import error_bound, similarity

USUAL = 80  # hundredths at which a curve starts, or lower where pairs worth taking are lower
PER_IMAGE = 4  # pairs that a curve reaches down to
ANCHORS = 2_000  # most rows that are compared with all others
BLOCK = 2**22  # similarities in work at a time, 16 MiB
# A float32 is up to 6e-8 below the decimal that it stands for: 0.83 is 0.82999998.
EDGE = 1e-6


class Bins:
    """Counts of pairs per 0.01 of similarity, from `lowest` hundredths to `highest`.

    Memory is four bytes for each bin and row.
    """

    def __init__(self, lowest: int, rows: int, highest: int = 100) -> None:
        self.lowest, self.size = lowest, highest - lowest
        self.total, self.known, self.equal = np.zeros((3, self.size))
        self.degrees = np.zeros((self.size, rows), np.float32)  # judged pairs of each image

    def add(
        self,
        i: np.ndarray,
        j: np.ndarray,
        similarity: np.ndarray,
        labels: np.ndarray,
        share: np.ndarray | float = 1.0,
    ) -> None:
        """Pairs of rows i and j (M,), each of which counts `share`; those outside do not."""
        bins = np.floor((similarity.astype(np.float64) + EDGE) * 100).astype(np.int64)
        bins = np.minimum(bins, 99) - self.lowest  # a similarity of 1 is in the last
        inside = (bins >= 0) & (bins < self.size)
        i, j, bins = i[inside], j[inside], bins[inside]
        weight = np.broadcast_to(share, inside.shape)[inside]
        labelled = (labels[i] >= 0) & (labels[j] >= 0)
        right = labelled & (labels[i] == labels[j])
        for counts, which in ((self.total, ...), (self.known, labelled), (self.equal, right)):
            counts += np.bincount(bins[which], weight[which], minlength=self.size)
        for rows in (i, j):
            np.add.at(self.degrees, (bins[labelled], rows[labelled]), weight[labelled])

    def table(self, scale: float = 1.0) -> list[dict[str, float | int | None]]:
        """One row a bin: similarity (its lower edge), pairs times `scale`, accuracy, its 95 %
        interval, and judged, the pairs that this is over; None where there are none."""
        return [
            {
                "similarity": (self.lowest + bin_) / 100,
                "pairs": round(float(self.total[bin_]) * scale),
                **_accuracy(self.equal[bin_], self.known[bin_], self.degrees[bin_]),
            }
            for bin_ in range(self.size)
        ]


def lowest_edge(similarity: float) -> int:
    """Hundredths at which a curve starts that is to reach down to `similarity`."""
    return max(0, min(USUAL, int(np.floor(100 * similarity + EDGE))))


def threshold_curve(
    embeddings: np.ndarray, labels: np.ndarray, seed: int
) -> list[dict[str, float | int | None]]:
    """The table of `Bins` by cosine, down to 0.80 or to four pairs an image if that is lower.

    `embeddings` is (K, D) float32, `labels` (K,) with -1 = none. At most 2,000 anchors, drawn by
    `seed`, are compared with all K rows. ``pairs`` estimates the unordered pairs among all K rows,
    and is exact if every row is an anchor; ``accuracy`` is that of the sample's pairs.
    """
    x = unit_rows(embeddings)  # (K, D)
    rows = len(x)
    lowest = lowest_edge(threshold_of(x, PER_IMAGE * rows, 1.0, seed)) if rows > 1 else USUAL
    rng = np.random.default_rng(seed)
    anchors = np.sort(rng.choice(rows, min(rows, ANCHORS), replace=False))  # (A,)
    bins = Bins(lowest, rows)
    # A pair of two anchors is met twice.
    share = np.ones(rows)
    share[anchors] = 0.5
    step = max(1, BLOCK // max(1, len(anchors)))
    with Progress("threshold curve", rows, "rows") as progress:
        for start in range(0, rows, step):
            i, j, value = _above(x, anchors, start, min(start + step, rows), lowest / 100)
            bins.add(i, j, value, labels, share[j])
            progress.advance(min(step, rows - start))
    met = _pairs(rows) - _pairs(rows - len(anchors))
    return bins.table(_pairs(rows) / met if met else 0.0)


def _pairs(rows: int) -> int:
    """Unordered pairs among so many rows."""
    return rows * (rows - 1) // 2


def _accuracy(right: float, judged: float, degrees: np.ndarray) -> dict[str, float | int | None]:
    names = ("accuracy", "accuracy_low", "accuracy_high")
    if not judged:
        return {**dict.fromkeys(names), "judged": 0}
    values = right / judged, *accuracy_interval(right, judged, degrees)
    rounded = {name: round(float(v), 6) for name, v in zip(names, values, strict=True)}
    return {**rounded, "judged": round(judged)}


def _above(
    x: np.ndarray, anchors: np.ndarray, start: int, stop: int, lowest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (anchor, row of start:stop) that are at least as similar: (M,) anchors, rows, values.

    Only similarities so near to the edge of a bin that float32 cannot tell which it is are computed
    again, by the formula that mining uses: the counts then do not depend on the BLAS.
    """
    fast = x[anchors] @ x[start:stop].T  # (A, stop - start)
    slack = error_bound(x.shape[1])
    a, j = np.nonzero(fast >= lowest - EDGE - slack)
    value = fast[a, j].astype(np.float64)
    i, j = anchors[a], j + start
    other = i != j
    i, j, value = i[other], j[other], value[other]
    hundredths = (value + EDGE) * 100
    near = np.abs(hundredths - np.rint(hundredths)) <= 100 * slack
    value[near] = similarity(x, i[near], j[near])
    return i, j, value
