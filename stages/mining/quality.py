"""What is measured on a set of pairs: how many, how right, how well spread."""

from __future__ import annotations

import math

import numpy as np

from stages.mining import Pairs


def describe(pairs: Pairs, labels: np.ndarray) -> dict[str, object]:
    """Metrics of pairs of rows, at least one; `labels` (K,) are those of all rows, -1 = none.

    count; accuracy: share with equal labels, among pairs where both are known; anchors_covered:
    distinct images in any pair; pairs_per_anchor: mean over these; images: K; similarity_mean;
    class_balance: entropy of the anchors' labels over log(number of classes), so 1 if all classes
    have as many anchors. What needs labels is None where there are none, and ``note`` says why.
    """
    count = len(pairs.anchor)
    covered = len(np.unique(np.concatenate([pairs.anchor, pairs.positive])))
    metrics: dict[str, object] = {
        "count": count,
        "accuracy": None,
        "anchors_covered": covered,
        "pairs_per_anchor": round(2 * count / covered, 6),
        "images": len(labels),
        "similarity_mean": round(float(pairs.similarity.mean(dtype=np.float64)), 6),
        "class_balance": None,
    }
    anchor, positive = labels[pairs.anchor], labels[pairs.positive]
    known = (anchor >= 0) & (positive >= 0)
    if known.any():
        metrics["accuracy"] = round(float((anchor == positive)[known].mean()), 6)
    if not known.all():
        metrics["note"] = (
            f"accuracy is over the {known.sum():,} of {count:,} pairs whose images both have labels"
            if known.any()
            else "no accuracy: the images of the pairs have no labels"
        )
    classes = np.unique(labels[labels >= 0])
    counts = [int((anchor == label).sum()) for label in classes]
    if sum(counts) and len(classes) > 1:
        metrics["class_balance"] = round(_entropy(counts) / math.log(len(classes)), 6)
    return metrics


def _entropy(counts: list[int]) -> float:
    """In nats."""
    shares = [count / sum(counts) for count in counts if count]
    return -sum(share * math.log(share) for share in shares)
