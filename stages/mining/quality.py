"""What is measured on a set of pairs: how many, how right, how well spread."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from stages.common.bins import bins_of
from stages.common.intervals import accuracy_interval, chance_accuracy
from stages.common.judged import CELL, Verdicts, estimate
from stages.mining import Pairs

EDGES = np.round(np.arange(round(2 / CELL) + 1) * CELL - 1, 6)  # of the cells of answers
ROUNDING = 1e-5  # of a similarity that has been through a CSV
BELOW = 1 / 3  # share of pairs that answers on more similar ones may stand for


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
    tally = _Tally(labels)
    for pairs in blocks:
        tally.add(pairs)
    count, known, images = tally.count, tally.known, int(np.count_nonzero(tally.covered))
    low, high = accuracy_interval(tally.right, known, tally.degrees) if known else (None, None)
    metrics: dict[str, object] = {
        "count": count,
        "accuracy": _rounded(tally.right / known if known else None),
        "accuracy_low": _rounded(low),
        "accuracy_high": _rounded(high),
        "judged": known,
        "chance": _rounded(chance_accuracy(labels)),
        "anchors_covered": images,
        "pairs_per_anchor": round(2 * count / images, 6),
        "pairs_per_image": round(count / len(labels), 6),
        "images": len(labels),
        "similarity_mean": round(tally.total / count, 6),
        "similarity_min": round(tally.lowest, 6),
        "class_balance": _rounded(_balance(tally.anchors.tolist())),
    }
    if known < count:
        metrics["note"] = (
            f"accuracy is over the {known:,} of {count:,} pairs whose images both have labels"
            if known
            else "no accuracy: the images of the pairs have no labels"
        )
    return metrics


def judged(
    blocks: Iterable[Pairs], ids: np.ndarray, verdicts: Verdicts, any_score: bool = False
) -> dict[str, object]:
    """The same metrics of accuracy, as those pairs tell that people have judged; of images `ids`
    (K,), in whose rows pairs are. Only a ``note`` where they tell nothing.

    Answers count whose pair had this similarity when it was judged: those that another score put to
    people are no random sample of these pairs. With `any_score` they count all the same.
    """
    there = np.isin(verdicts.anchor, ids) & np.isin(verdicts.positive, ids)
    rows = (np.searchsorted(ids, ends[there]) for ends in (verdicts.anchor, verdicts.positive))
    names = _key(*rows, len(ids))
    order = np.argsort(names)
    names, (answers, asked_at) = (
        names[order],
        (values[there][order] for values in (verdicts.same, verdicts.similarity)),
    )
    pairs, yes, asked = np.zeros((3, len(EDGES) - 1))
    others = 0
    for block in blocks:
        cells = bins_of(block.similarity, EDGES)
        pairs += np.bincount(cells, minlength=len(pairs))
        own = _key(block.anchor, block.positive, len(ids))
        found = np.flatnonzero(np.isin(own, names))
        place = np.searchsorted(names, own[found])
        same_score = np.abs(block.similarity[found] - asked_at[place]) < ROUNDING
        counted = same_score | any_score
        others += int(np.count_nonzero(~counted))
        found, place = found[counted], place[counted]
        yes += np.bincount(cells[found], answers[place], minlength=len(pairs))
        asked += np.bincount(cells[found], minlength=len(pairs))
    return _told(pairs, yes, asked, others)


def _told(pairs: np.ndarray, yes: np.ndarray, asked: np.ndarray, others: int) -> dict[str, object]:
    """The metrics that answers by cells (C,) tell; `others` are of another score."""
    count, estimated = int(asked.sum()), estimate(pairs, yes, asked)
    more = f"; {others:,} others were judged under another score" if others else ""
    if estimated is None:
        note = "no accuracy: the images have no labels, and none of the pairs was judged"
        return {"note": note + more}
    lowest = int(np.flatnonzero(asked)[0])
    below = float(pairs[:lowest].sum())
    if below > BELOW * pairs.sum():
        note = (
            f"no accuracy: {below:,.0f} of {pairs.sum():,.0f} pairs are less similar than all that "
            f"people have judged, {EDGES[lowest]:.3f} and more"
        )
        return {"note": note + more}
    titles = ("accuracy", "accuracy_low", "accuracy_high")
    note = f"accuracy is estimated from {count:,} of the pairs, which people have judged"
    return {
        **{title: round(value, 6) for title, value in zip(titles, estimated, strict=True)},
        "judged": count,
        "chance": None,  # of the answers; that of some labels would be another thing
        "note": note + more,
    }


def _key(anchor: np.ndarray, positive: np.ndarray, rows: int) -> np.ndarray:
    """(M,) int64, another one for each pair of so many rows."""
    return anchor * rows + positive


class _Tally:
    """What is counted of pairs of rows with `labels` (K,), block by block."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.classes = np.unique(labels[labels >= 0])
        self.count = self.known = self.right = 0  # pairs; of them judged; of these right
        self.total, self.lowest = 0.0, 1.0  # similarity
        self.covered = np.zeros(len(labels), bool)  # images in any pair
        self.degrees = np.zeros(len(labels), np.int64)  # judged pairs of each image
        self.anchors = np.zeros(len(self.classes), np.int64)  # pairs whose anchor is of each class

    def add(self, pairs: Pairs) -> None:
        self.count += len(pairs.anchor)
        self.total += float(pairs.similarity.sum(dtype=np.float64))
        self.lowest = min(self.lowest, float(pairs.similarity.min(initial=1.0)))
        self.covered[pairs.anchor] = self.covered[pairs.positive] = True
        anchor, positive = self.labels[pairs.anchor], self.labels[pairs.positive]
        both = (anchor >= 0) & (positive >= 0)
        for ids in (pairs.anchor[both], pairs.positive[both]):
            self.degrees += np.bincount(ids, minlength=len(self.labels))
        self.known += int(np.count_nonzero(both))
        self.right += int(np.count_nonzero((anchor == positive) & both))
        places = np.searchsorted(self.classes, anchor[anchor >= 0])
        self.anchors += np.bincount(places, minlength=len(self.classes))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _balance(counts: list[int]) -> float | None:
    """Entropy of counts by class over the highest there could be; None for one class or none."""
    if not sum(counts) or len(counts) < 2:
        return None
    shares = [count / sum(counts) for count in counts if count]
    return -sum(share * math.log(share) for share in shares) / math.log(len(counts))
