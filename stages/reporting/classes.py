"""How right the pairs of each class are, and which classes are taken for each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import sparse

from stages.common.intervals import accuracy_interval
from stages.common.pairs import Pairs, join
from stages.reporting.blocks import Blocks, most_similar

ENDS = 2**21  # ends of pairs whose partners' classes are held at a time


@dataclass(frozen=True)
class ClassCounts:
    """Judged pairs, those whose images both have labels, by the C classes of their images."""

    between: sparse.csr_matrix  # (C, C) from an image of one class to one of another, both ways
    images: sparse.csr_matrix  # (C, C) images of one class that have a partner of another
    squares: np.ndarray  # (C,) sum over images of the squared number of the class's pairs

    @cached_property
    def right(self) -> np.ndarray:
        """(C,) int64 pairs of two images of the class."""
        return self.between.diagonal().astype(np.int64) // 2  # counted from both ends

    @cached_property
    def pairs(self) -> np.ndarray:
        """(C,) int64 pairs that have an image of the class on either side."""
        ends = np.asarray(self.between.sum(axis=1)).ravel().astype(np.int64)
        return ends - self.right

    def interval(self, place: int) -> tuple[float, float]:
        """95 % interval of the accuracy of a class that has pairs."""
        # One image that is in as many pairs: of its degrees only the sum of squares counts.
        degrees = np.sqrt(self.squares[place : place + 1])
        return accuracy_interval(float(self.right[place]), float(self.pairs[place]), degrees)

    def most_with(self, place: int) -> tuple[int, int]:
        """The other class with which a class has most wrong pairs, and how many; 0 if none."""
        row = self.between[place].tocoo()
        wrong = np.where(row.col == place, 0, row.data)
        most = int(wrong.argmax())
        return int(row.col[most]), int(wrong[most])


@dataclass(frozen=True)
class Confused:
    """Wrong pairs between two classes."""

    classes: tuple[int, int]  # places, the lower one first
    pairs: int
    images: tuple[int, int]  # of either class, in these pairs
    times: float  # as many as if wrong pairs were of random images


def places_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(C,) the classes there are, (C,) their images, and (N,) int64 the place of each image's
    class among them, -1 = none, of `labels` (N,), -1 = none."""
    classes, sizes = np.unique(labels[labels >= 0], return_counts=True)
    return classes, sizes, np.where(labels >= 0, np.searchsorted(classes, labels), -1)


def judged_pairs(blocks: Blocks, place: np.ndarray) -> Iterator[Pairs]:
    """Those whose images both have labels."""
    for block in blocks():
        yield block.take((place[block.anchor] >= 0) & (place[block.positive] >= 0))


def count_classes(
    blocks: Blocks, place: np.ndarray, classes: int, judged: np.ndarray
) -> ClassCounts:
    """The pairs by the classes of their images, of place (N,); `judged` (N,) counts the judged
    pairs of each image.

    Holds the partners' classes of some images at a time, ENDS of them, and goes through the pairs
    as often as that takes; beside them numbers of each image and of each two classes that meet.
    """
    shape = (classes, classes)
    between, images = (sparse.csr_matrix(shape, dtype=np.float64) for _ in range(2))
    squares = np.bincount(place[place >= 0], judged[place >= 0].astype(float) ** 2, classes)
    for start, stop in _ranges(judged):
        image, partner, count = _partners(blocks, place, classes, start, stop)
        own = place[start:stop][image]
        between += sparse.csr_matrix((count, (own, partner)), shape)
        images += sparse.csr_matrix((np.ones(len(own)), (own, partner)), shape)
        other = own != partner  # an image that is in pairs of a class not its own
        squares += np.bincount(partner[other], count[other] ** 2, classes)
    return ClassCounts(between, images, squares)


def _ranges(judged: np.ndarray) -> Iterator[tuple[int, int]]:
    """Images from … up to …, in each of which about ENDS ends of judged (N,) pairs lie."""
    group = np.cumsum(judged) // ENDS
    bounds = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(judged)]
    return ((a, b) for a, b in pairwise(bounds) if judged[a:b].any())


def _partners(
    blocks: Blocks, place: np.ndarray, classes: int, start: int, stop: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For images start … stop: (M,) image less start, (M,) a class that it has partners of, and
    (M,) float64 how many."""
    parts = []
    for block in judged_pairs(blocks, place):
        image, partner, _ = block.directed()
        inside = (image >= start) & (image < stop)
        where = (image[inside] - start, place[partner[inside]])
        parts.append(np.array(where, np.int32))
    where = np.concatenate(parts, axis=1)
    # To csr and back: that adds up what is at the same place.
    shape = (stop - start, classes)
    ones = np.ones(where.shape[1], np.int32)
    found = sparse.coo_matrix((ones, tuple(where)), shape).tocsr().tocoo()
    return found.row, found.col, found.data.astype(float)


def most_confused(counts: ClassCounts, sizes: np.ndarray, most: int) -> tuple[list[Confused], int]:
    """Up to `most` of the two classes that have the most pairs between them, and how many there
    are; `sizes` (C,) are the images of each class."""
    above = sparse.triu(counts.between, 1).tocoo()
    order = np.lexsort((above.col, above.row, -above.data))[:most]
    # Among random pairs of two classes these two have n1 n2 of so many:
    combinations = (int(sizes.sum()) ** 2 - int(np.square(sizes, dtype=np.int64).sum())) / 2
    wrong = float(above.data.sum())
    found = []
    for i, j, pairs in zip(above.row[order], above.col[order], above.data[order], strict=True):
        expected = wrong * float(sizes[i]) * float(sizes[j]) / combinations
        images = (int(counts.images[i, j]), int(counts.images[j, i]))
        found.append(Confused((int(i), int(j)), int(pairs), images, pairs / expected))
    return found, above.nnz


def most_alike(blocks: Blocks, place: np.ndarray, classes: list[tuple[int, int]]) -> list[Pairs]:
    """The most similar pair between each two `classes`, of equal ones the first in order; its
    image of the first class is the anchor."""
    best = [join([]) for _ in classes]
    among = np.zeros(int(place.max(initial=0)) + 1, bool)
    among[[one for both in classes for one in both]] = True
    for block in judged_pairs(blocks, place):
        block = block.take(among[place[block.anchor]] & among[place[block.positive]])
        both = block.directed()
        first, second = place[both.anchor], place[both.positive]
        for number, (i, j) in enumerate(classes):
            here = both.take((first == i) & (second == j))
            best[number] = most_similar([best[number], here], 1)
    return best


def quartiles(shares: list[float]) -> tuple[float, float, float]:
    """First, median and third; nearest ranks, so that each is the accuracy of a class."""
    ordered = sorted(shares)
    return tuple(ordered[math.ceil(q * len(ordered)) - 1] for q in (0.25, 0.5, 0.75))
