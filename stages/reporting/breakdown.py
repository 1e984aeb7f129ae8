"""What else one asks of mined pairs: which classes they get right and which they confuse, which
images have most partners, and what the most similar pairs look like.

Goes through the pairs a few times, in blocks. Beside a block it holds a few numbers of each image,
of each class and of each two classes that have a pair between them, the partners of the images
that have most, and what `classes.ENDS` bounds. What it shows is bounded, whatever there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.common.pairs import Pairs
from stages.reporting.blocks import Blocks, most_similar
from stages.reporting.classes import (
    ClassCounts,
    Confused,
    count_classes,
    most_alike,
    most_confused,
    places_of,
    quartiles,
)
from stages.reporting.gallery import Card, Images, Picture, class_name, picture
from stages.reporting.hubs import Hub, Spread, find_hubs, partner_counts

FIRST_CLASSES, MOST_CLASSES = 20, 100  # in the table, and with what unfolds beneath it
NAMED = 10  # classes that are in no pair
CONFUSED = 10  # two classes each
HUBS, PARTNERS = 12, 4  # images, and partners of each
ALIKE = 12  # pairs
EDGE, SMALL = 64, 48  # pixels of a thumbnail, and of a partner's


@dataclass(frozen=True)
class ClassRow:
    name: str
    pairs: int  # judged, with an image of the class on either side
    accuracy: float
    low: float  # 95 % interval
    high: float
    other: str | None  # the class with which it has most wrong pairs, and how many
    other_pairs: int


@dataclass(frozen=True)
class Confusion:
    first: str
    second: str
    found: Confused
    example: Card


@dataclass(frozen=True)
class Classes:
    rows: list[ClassRow]  # the worst first, MOST_CLASSES at most
    total: int  # classes of the training images
    judged: int  # pairs whose images both have labels
    right: int
    middle: tuple[float, float, float]  # quartiles of the accuracy over classes
    absent: list[str]  # classes in no judged pair, NAMED at most
    absent_total: int
    confusions: list[Confusion]  # the most frequent first, CONFUSED at most
    confusions_total: int


@dataclass(frozen=True)
class HubCard:
    image: Picture
    partners: int
    judged: int  # of these, those where both have labels
    right: int
    shown: list[tuple[Picture, str]]  # some partners, and same | different | unknown


@dataclass(frozen=True)
class Alike:
    cards: list[Card]  # the most similar first
    above: bool  # whether these lie above max, and were left out, or are mined pairs
    limit: float  # sepp.max
    sampled: bool  # whether there was a sample of pairs to look for some above max
    count: int | None  # pairs above max, if known
    whole: bool  # whether the sample had all of these


@dataclass(frozen=True)
class Breakdown:
    classes: Classes | None  # None: no pair is of two images with labels
    spread: Spread
    hubs: list[HubCard]
    alike: Alike


def make_breakdown(
    blocks: Blocks,
    images: Images,
    labels: np.ndarray,
    limit: float,
    sample: Pairs | None = None,
    count_above: float | None = None,
) -> Breakdown | None:
    """Always the same for the same pairs; None if there are none.

    `labels` (N,) are those of the training images, -1 = none, or not among them; `limit` is
    sepp.max. `sample` has pairs of all similarities, also of those above `limit`, of which
    there are `count_above`, if known; exactly or about.
    """
    classes, sizes, place = places_of(labels)
    partners, judged = partner_counts(blocks, place)
    if not partners.any():
        return None
    names = [class_name(int(label), images.classes) for label in classes]
    about = None
    if judged.any():
        counts = count_classes(blocks, place, len(classes), judged)
        about = _classes(blocks, counts, names, sizes, place, images)
    spread, hubs = find_hubs(blocks, partners, HUBS)
    cards = [_hub(hub, place, images) for hub in hubs]
    return Breakdown(
        about, spread, cards, _alike(blocks, place, images, limit, sample, count_above)
    )


def _classes(
    blocks: Blocks,
    counts: ClassCounts,
    names: Sequence[str],
    sizes: np.ndarray,
    place: np.ndarray,
    images: Images,
) -> Classes:
    rows = _class_rows(counts, names)
    confused, total = most_confused(counts, sizes, CONFUSED)
    examples = most_alike(blocks, place, [one.classes for one in confused])
    cards = [_cards(example, place, images)[0] for example in examples]
    absent = [name for name, pairs in zip(names, counts.pairs, strict=True) if not pairs]
    right = int(counts.right.sum())
    return Classes(
        rows=rows[:MOST_CLASSES],
        total=len(names),
        judged=right + int(counts.between.sum() - counts.between.diagonal().sum()) // 2,
        right=right,
        middle=quartiles([row.accuracy for row in rows]),
        absent=absent[:NAMED],
        absent_total=len(absent),
        confusions=[
            Confusion(names[one.classes[0]], names[one.classes[1]], one, card)
            for one, card in zip(confused, cards, strict=True)
        ],
        confusions_total=total,
    )


def _class_rows(counts: ClassCounts, names: Sequence[str]) -> list[ClassRow]:
    """By the upper end of the interval, so that a class of few pairs, whose accuracy is low by
    chance alone, does not head the list."""
    rows, right, pairs = [], counts.right, counts.pairs
    for place in np.flatnonzero(pairs).tolist():
        accuracy, (low, high) = float(right[place] / pairs[place]), counts.interval(place)
        other, wrong = counts.most_with(place)
        name = names[other] if wrong else None
        rows.append(ClassRow(names[place], int(pairs[place]), accuracy, low, high, name, wrong))
    return sorted(rows, key=lambda row: (row.high, row.accuracy))


def _hub(hub: Hub, place: np.ndarray, images: Images) -> HubCard:
    """With partners from the most to the least similar one, evenly among all."""
    ranks = np.unique(np.linspace(0, len(hub.partners) - 1, PARTNERS).round().astype(int))
    kinds = _kinds(np.full(len(hub.partners), hub.image), hub.partners, place)
    return HubCard(
        image=picture(hub.image, images, EDGE),
        partners=len(hub.partners),
        judged=len(kinds) - kinds.count("unknown"),
        right=kinds.count("same"),
        shown=[(picture(int(hub.partners[i]), images, SMALL), kinds[i]) for i in ranks],
    )


def _alike(
    blocks: Blocks,
    place: np.ndarray,
    images: Images,
    limit: float,
    sample: Pairs | None,
    count: float | None,
) -> Alike:
    """The most similar of the sampled pairs above `limit`; where there are none, of those mined."""
    count = None if count is None else round(count)
    if limit < 1 and sample is not None:
        above = sample.take(sample.similarity > np.float32(limit))  # as mining compares them
        if held := len(above.anchor):
            cards = _cards(most_similar([above], ALIKE), place, images)
            return Alike(cards, True, limit, True, count, count is not None and count <= held)
    cards = _cards(most_similar(blocks(), ALIKE), place, images)
    return Alike(cards, False, limit, sample is not None, count, False)


def _cards(pairs: Pairs, place: np.ndarray, images: Images) -> list[Card]:
    kinds = _kinds(pairs.anchor, pairs.positive, place)
    return [
        Card(
            f"{similarity:.4f}", kind, True,
            picture(int(anchor), images, EDGE), picture(int(positive), images, EDGE),
        )
        for anchor, positive, similarity, kind in zip(*pairs, kinds, strict=True)
    ]  # fmt: skip


def _kinds(anchor: np.ndarray, positive: np.ndarray, place: np.ndarray) -> list[str]:
    """Whether the labels of (M,) pairs agree: same | different | unknown."""
    first, second = place[anchor], place[positive]
    kind = np.where(first == second, "same", "different")
    return np.where((first < 0) | (second < 0), "unknown", kind).tolist()
