"""The threshold curve: how many pairs each similarity holds, and how many of them are right."""

from __future__ import annotations

import numpy as np

from stages.common.progress import Progress
from stages.common.unit import unit_rows
from stages.mining.intervals import accuracy_interval
from stages.mining.rows import error_bound, similarity

LOWEST, BINS = 80, 20  # hundredths: bins [0.80, 0.81) … [0.99, 1.00]
ANCHORS = 2_000  # most rows that are compared with all others
BLOCK = 2**22  # similarities in work at a time, 16 MiB
# A float32 is up to 6e-8 below the decimal that it stands for: 0.83 is 0.82999998.
EDGE = 1e-6


def threshold_curve(
    embeddings: np.ndarray, labels: np.ndarray, seed: int
) -> list[dict[str, float | int | None]]:
    """One row a bin: similarity (its lower edge), pairs, accuracy, its 95 % interval, judged.

    `embeddings` is (K, D) float32, `labels` (K,) with -1 = none. At most 2,000 anchors, drawn by
    `seed`, are compared with all K rows. ``pairs`` estimates the unordered pairs among all K rows,
    and is exact if every row is an anchor; ``accuracy`` is the share of equal labels among the
    ``judged`` pairs of the sample where both are known, None if there are none.
    """
    x = unit_rows(embeddings)  # (K, D)
    rows = len(x)
    rng = np.random.default_rng(seed)
    anchors = np.sort(rng.choice(rows, min(rows, ANCHORS), replace=False))  # (A,)
    total, known, equal = np.zeros((3, BINS))
    seen = np.zeros((BINS, rows), bool)  # images that a judged pair of the bin has
    # A pair of two anchors is met twice.
    share = np.ones(rows)
    share[anchors] = 0.5
    step = max(1, BLOCK // max(1, len(anchors)))
    with Progress("threshold curve", rows, "rows") as progress:
        for start in range(0, rows, step):
            i, j, bins = _binned(x, anchors, start, min(start + step, rows))
            labelled = (labels[i] >= 0) & (labels[j] >= 0)
            right = labelled & (labels[i] == labels[j])
            for counts, which in ((total, ...), (known, labelled), (equal, right)):
                counts += np.bincount(bins[which], share[j[which]], minlength=BINS)
            seen[bins[labelled], i[labelled]] = seen[bins[labelled], j[labelled]] = True
            progress.advance(min(step, rows - start))
    scale = _pairs(rows) / (_pairs(rows) - _pairs(rows - len(anchors))) if rows > 1 else 0.0
    images = seen.sum(1)
    return [
        {
            "similarity": (LOWEST + bin_) / 100,
            "pairs": round(float(total[bin_]) * scale),
            **_accuracy(equal[bin_], known[bin_], int(images[bin_])),
        }
        for bin_ in range(BINS)
    ]


def _pairs(rows: int) -> int:
    """Unordered pairs among so many rows."""
    return rows * (rows - 1) // 2


def _accuracy(right: float, judged: float, images: int) -> dict[str, float | int | None]:
    names = ("accuracy", "accuracy_low", "accuracy_high")
    if not judged:
        return {**dict.fromkeys(names), "judged": 0}
    values = right / judged, *accuracy_interval(right, judged, images)
    rounded = {name: round(float(v), 6) for name, v in zip(names, values, strict=True)}
    return {**rounded, "judged": round(judged)}


def _binned(
    x: np.ndarray, anchors: np.ndarray, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (anchor, row of start:stop) that fall in a bin: (M,) anchors, rows, bins.

    Only similarities so near to an edge that float32 cannot tell the bin are computed again, by
    the formula that mining uses: the counts then do not depend on the BLAS.
    """
    fast = x[anchors] @ x[start:stop].T  # (A, stop - start)
    slack = error_bound(x.shape[1])
    a, j = np.nonzero(fast >= LOWEST / 100 - EDGE - slack)
    value = fast[a, j].astype(np.float64)
    i, j = anchors[a], j + start
    other = i != j
    i, j, value = i[other], j[other], value[other]
    hundredths = (value + EDGE) * 100
    near = np.abs(hundredths - np.rint(hundredths)) <= 100 * slack
    value[near] = similarity(x, i[near], j[near])
    bins = np.floor((value + EDGE) * 100).astype(np.int64) - LOWEST
    inside = bins >= 0
    return i[inside], j[inside], np.minimum(bins[inside], BINS - 1)
