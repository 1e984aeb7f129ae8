"""What is measured on a set of pairs: how many, how right, how well spread."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from stages.common.explored import bins_of
from stages.common.intervals import accuracy_interval, chance_accuracy
from stages.common.judged import CELL, Verdicts, estimate
from stages.mining import Pairs

EDGES = np.round(np.arange(round(2 / CELL) + 1) * CELL - 1, 6)  # of the cells of answers


def describe(blocks: Iterable[Pairs], labels: np.ndarray) -> dict[str, object]:
    """Metrics of pairs of rows, at least one, in blocks; `labels` (K,) are those of all rows, -1 =
    none.

    count; accuracy: share with equal labels, among pairs where both are known, its 95 % interval
    (accuracy_low, accuracy_high), judged, how many these are, and chance, the accuracy of random
    pairs; anchors_covered:
    distinct images in any pair; pairs_per_anchor: mean over these; pairs_per_image: over all K
    images; images: K; similarity_mean, similarity_min; class_balance: entropy of the anchors'
    labels over log(number of classes), so 1 if all classes have as many anchors. What needs labels
    is None where there are none, and ``note`` says why.
    """
    count = known = right = 0
    total, lowest = 0.0, 1.0
    covered = np.zeros(len(labels), bool)
    degrees = np.zeros(len(labels), np.int64)  # judged pairs of each image
    classes = np.unique(labels[labels >= 0])
    anchors = np.zeros(len(classes), np.int64)  # pairs whose anchor is of each class
    for pairs in blocks:
        count += len(pairs.anchor)
        total += float(pairs.similarity.sum(dtype=np.float64))
        lowest = min(lowest, float(pairs.similarity.min(initial=1.0)))
        covered[pairs.anchor] = covered[pairs.positive] = True
        anchor, positive = labels[pairs.anchor], labels[pairs.positive]
        both = (anchor >= 0) & (positive >= 0)
        for ids in (pairs.anchor[both], pairs.positive[both]):
            degrees += np.bincount(ids, minlength=len(labels))
        known += int(np.count_nonzero(both))
        right += int(np.count_nonzero((anchor == positive) & both))
        places = np.searchsorted(classes, anchor[anchor >= 0])
        anchors += np.bincount(places, minlength=len(classes))
    images = int(np.count_nonzero(covered))
    low, high = accuracy_interval(right, known, degrees) if known else (None, None)
    metrics: dict[str, object] = {
        "count": count,
        "accuracy": _rounded(right / known if known else None),
        "accuracy_low": _rounded(low),
        "accuracy_high": _rounded(high),
        "judged": known,
        "chance": _rounded(chance_accuracy(labels)),
        "anchors_covered": images,
        "pairs_per_anchor": round(2 * count / images, 6),
        "pairs_per_image": round(count / len(labels), 6),
        "images": len(labels),
        "similarity_mean": round(total / count, 6),
        "similarity_min": round(lowest, 6),
        "class_balance": None,
    }
    if known < count:
        metrics["note"] = (
            f"accuracy is over the {known:,} of {count:,} pairs whose images both have labels"
            if known
            else "no accuracy: the images of the pairs have no labels"
        )
    if anchors.sum() and len(classes) > 1:
        metrics["class_balance"] = round(_entropy(anchors.tolist()) / math.log(len(classes)), 6)
    return metrics


def judged(blocks: Iterable[Pairs], ids: np.ndarray, verdicts: Verdicts) -> dict[str, object]:
    """The same metrics of accuracy, as those pairs tell that people have judged; of images `ids`
    (K,), in whose rows pairs are. Only a ``note`` where none of them was judged."""
    there = np.isin(verdicts.anchor, ids) & np.isin(verdicts.positive, ids)
    rows = (np.searchsorted(ids, ends[there]) for ends in (verdicts.anchor, verdicts.positive))
    names = _key(*rows, len(ids))
    order = np.argsort(names)
    names, answers = names[order], verdicts.same[there][order]
    pairs, yes, asked = np.zeros((3, len(EDGES) - 1))
    for block in blocks:
        cells = bins_of(block.similarity, EDGES)
        pairs += np.bincount(cells, minlength=len(pairs))
        name = _key(block.anchor, block.positive, len(ids))
        found = np.flatnonzero(np.isin(name, names))
        same = answers[np.searchsorted(names, name[found])]
        yes += np.bincount(cells[found], same, minlength=len(pairs))
        asked += np.bincount(cells[found], minlength=len(pairs))
    count = int(asked.sum())
    estimated = estimate(pairs, yes, asked)
    if estimated is None:
        return {"note": "no accuracy: the images have no labels, and none of the pairs was judged"}
    titles = ("accuracy", "accuracy_low", "accuracy_high")
    return {
        **{title: round(value, 6) for title, value in zip(titles, estimated, strict=True)},
        "judged": count,
        "note": f"accuracy is estimated from {count:,} of the pairs, which people have judged",
    }


def _key(anchor: np.ndarray, positive: np.ndarray, rows: int) -> np.ndarray:
    """(M,) int64, another one for each pair of so many rows."""
    return anchor * rows + positive


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _entropy(counts: list[int]) -> float:
    """In nats."""
    shares = [count / sum(counts) for count in counts if count]
    return -sum(share * math.log(share) for share in shares)
