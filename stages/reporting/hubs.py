"""How the pairs are shared out among images, and the images with the most partners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.common.pairs import Pairs, join
from stages.reporting.blocks import Blocks

FREQUENT = 100  # of so many images that are in pairs, the one with the most partners is frequent


@dataclass(frozen=True)
class Hub:
    """An image and its partners."""

    image: int
    partners: np.ndarray  # (M,) ids, the most similar first
    similarity: np.ndarray  # (M,)


@dataclass(frozen=True)
class Spread:
    """How many partners images have, of those that have any."""

    images: int
    mean: float
    median: int
    most: int
    frequent: int  # images: the hundredth of them with the most partners
    share: float  # of all pairs that one of these is in
    even: float  # that share, if all images had as many partners and these none in common


def partner_counts(blocks: Blocks, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int64 partners of each image, and those among them where both have labels; place (N,)
    is the class of each image, -1 = none."""
    all_, judged = np.zeros((2, len(place)), np.int64)
    for block in blocks():
        known = (place[block.anchor] >= 0) & (place[block.positive] >= 0)
        for ids in block[:2]:
            all_ += np.bincount(ids, minlength=len(place))
            judged += np.bincount(ids[known], minlength=len(place))
    return all_, judged


def find_hubs(blocks: Blocks, partners: np.ndarray, most: int) -> tuple[Spread, list[Hub]]:
    """How evenly pairs are spread, and up to `most` images of the most partners, of two or more;
    of images with as many partners the first. `partners` (N,) counts each image's, some of one.

    Goes through the pairs once, and holds those of the hubs.
    """
    order = np.argsort(-partners, kind="stable")
    covered = int(np.count_nonzero(partners))
    frequent = -(-covered // FREQUENT)
    hubs = [int(image) for image in order[:most] if partners[image] > 1]
    is_hub, is_frequent = np.zeros((2, len(partners)), bool)
    is_hub[hubs], is_frequent[order[:frequent]] = True, True
    held, touched = [], 0
    for block in blocks():
        touched += int(np.count_nonzero(is_frequent[block.anchor] | is_frequent[block.positive]))
        ends = block.take(is_hub[block.anchor] | is_hub[block.positive]).directed()
        held.append(ends.take(is_hub[ends.anchor]))
    spread = Spread(
        images=covered,
        mean=float(partners.sum() / covered),
        median=int(partners[order[(covered - 1) // 2]]),
        most=int(partners[order[0]]),
        frequent=frequent,
        share=2 * touched / int(partners.sum()),
        even=min(1.0, 2 * frequent / covered),
    )
    return spread, _by_hub(join(held), hubs)


def _by_hub(ends: Pairs, hubs: list[int]) -> list[Hub]:
    found = []
    for image in hubs:
        own = ends.take(ends.anchor == image)
        own = own.take(np.argsort(-own.similarity, kind="stable"))
        found.append(Hub(image, own.positive, own.similarity))
    return found
