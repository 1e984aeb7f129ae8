"""Counting pairs by similarity, for every interval at once, and keeping a few of each bin.

What is counted comes as the partners of one image after another, so that how many images an
interval covers, and how unevenly, is counted with the pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.common.bins import bins_of
from stages.common.pairs import Pairs

KEPT = 48  # pairs of a bin, which the sample is drawn from
SHOWN = 3  # pairs of a bin that are shown, whether they are judged or not
STRATA = 7  # each of half as many pairs as the one below it
TURNS = 40  # pairs of a stratum that may be judged


class Partners(NamedTuple):
    """Pairs (i, j) by anchor i: all pairs that each of some anchors is in, i != j."""

    anchors: np.ndarray  # (A,) the rows whose partners these are, ascending
    place: np.ndarray  # (M,) of i among them
    partner: np.ndarray  # (M,) row j
    similarity: np.ndarray  # (M,) float32


class Tally:
    """Pairs by bins of similarity, edges (B + 1,); memory is some 20 B^2
    bytes, and 40 B for each row of a block of anchors.

    Args:
        labels: (K,), -1 = none.
        seed: of the pairs that are kept.
    """

    def __init__(self, edges: np.ndarray, labels: np.ndarray, seed: int) -> None:
        size = len(edges) - 1
        self.edges, self.labels, self.seed = edges, labels, seed
        self.pairs, self.right, self.known = np.zeros((3, size))
        self.covered, self.products = np.zeros((2, size, size))
        self.kept, self.limit = _none(), np.full(size, 2**64 - 1, np.uint64)

    def add(self, block: Partners) -> None:
        """Count the partners of some anchors, each of which comes once."""
        bins = bins_of(block.similarity, self.edges)
        inside = bins >= 0
        place, partner, bins = block.place[inside], block.partner[inside], bins[inside]
        anchor, size = block.anchors[place], len(self.pairs)
        known = (self.labels[anchor] >= 0) & (self.labels[partner] >= 0)
        right = known & (self.labels[anchor] == self.labels[partner])
        self.pairs += np.bincount(bins, minlength=size)
        self.known += np.bincount(bins[known], minlength=size)
        self.right += np.bincount(bins[right], minlength=size)
        shape = len(block.anchors), size
        counts = _table(place, bins, shape)  # (A, B)
        self._cover(counts)
        if not known.all():
            counts = _table(place[known], bins[known], shape)
        self.products += counts.T @ counts
        self._keep(Pairs(anchor, partner, block.similarity[inside]), bins)

    def _cover(self, counts: np.ndarray) -> None:
        """Anchors with a partner in bins [first, last]: those whose next one from first on is."""
        size = counts.shape[1]
        following = np.where(counts > 0, np.arange(size), size)  # (A, B)
        following = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]
        for first in range(size):
            found = np.bincount(following[:, first], minlength=size + 1)[:size]
            self.covered[first] += np.cumsum(found)

    def _keep(self, pairs: Pairs, bins: np.ndarray) -> None:
        """Of each bin the pairs with the smallest keys: a random sample that does not depend on
        the order in which pairs come, nor on which of the two comes as the anchor."""
        key = _keys(*np.sort([pairs.anchor, pairs.positive], axis=0), self.seed)
        few = np.flatnonzero(key < self.limit[bins])
        low, high = np.sort([pairs.anchor[few], pairs.positive[few]], axis=0)
        more = _Kept(bins[few], key[few], low, high, pairs.similarity[few])
        merged = [np.concatenate(columns) for columns in zip(self.kept, more, strict=True)]
        order = np.lexsort((merged[3], merged[2], merged[1], merged[0]))
        kept = _Kept(*(column[order] for column in merged))
        again = (np.diff(kept.low) == 0) & (np.diff(kept.high) == 0) & (np.diff(kept.bins) == 0)
        kept = _Kept(*(column[np.append(True, ~again)[: len(order)]] for column in kept))
        rank = np.arange(len(kept.bins)) - np.searchsorted(kept.bins, kept.bins)
        full = rank == KEPT - 1
        self.limit[kept.bins[full]] = kept.key[full]
        self.kept = _Kept(*(column[rank < KEPT] for column in kept))

    @property
    def squares(self) -> np.ndarray:
        """(B, B) the sum over anchors of the squared number of their partners in [first, last]."""
        # All products of bins within [first, last]: four corners of the summed table.
        total = np.pad(self.products.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        size = len(self.pairs)
        first, last = np.arange(size)[:, None], np.arange(size)[None, :] + 1
        both = total[last, last] - 2 * total[first, last] + total[first, first]
        return np.triu(both)

    def sample(self) -> tuple[Pairs, np.ndarray]:
        """Some pairs of every bin, by similarity, and (M,) int32 the turn at which each is judged.

        Turns go round the strata from the most similar pairs down; within a stratum pairs are drawn
        at random. -1: not to be judged.
        """
        kept, turn = self.kept, np.full(len(self.kept.bins), -1, np.int32)
        starts = np.searchsorted(kept.bins, np.arange(len(self.pairs)))
        rng = np.random.default_rng(self.seed)
        strata = list(strata_of(self.pairs))
        for number, (first, last) in enumerate(strata):
            share = self.pairs[first:last] / self.pairs[first:last].sum()
            there = np.bincount(kept.bins, minlength=len(self.pairs))[first:last]
            draws = np.minimum(rng.multinomial(TURNS, share), there)
            places = zip(starts[first:last], draws, strict=True)
            rows = np.concatenate([np.arange(start, start + n) for start, n in places])
            turn[rng.permutation(rows)] = number + len(strata) * np.arange(len(rows))
        shown = np.flatnonzero((np.arange(len(turn)) - starts[kept.bins] < SHOWN) | (turn >= 0))
        shown = shown[np.lexsort((kept.high[shown], kept.low[shown], kept.similarity[shown]))]
        asked = turn[shown] >= 0
        turn[shown[asked]] = np.argsort(np.argsort(turn[shown[asked]]))  # without gaps
        return Pairs(kept.low[shown], kept.high[shown], kept.similarity[shown]), turn[shown]


class _Kept(NamedTuple):
    bins: np.ndarray
    key: np.ndarray  # uint64
    low: np.ndarray
    high: np.ndarray
    similarity: np.ndarray


def _none() -> _Kept:
    kinds = (np.int64, np.uint64, np.int64, np.int64, np.float32)
    return _Kept(*(np.empty(0, kind) for kind in kinds))


def strata_of(pairs: np.ndarray) -> list[tuple[int, int]]:
    """Bins [first, stop) of each stratum, the most similar pairs first: each holds about half as
    many of `pairs` (B,) as the next, so that few answers tell of rare similar pairs too."""
    above = np.cumsum(pairs[::-1])[::-1]
    stop, strata = len(pairs), []
    for number in reversed(range(STRATA)):
        reached = np.flatnonzero(above >= above[0] / 2**number)
        first = int(reached[-1]) if len(reached) and number else 0
        if above[0] and first < stop and pairs[first:stop].sum():
            strata.append((first, stop))
            stop = first
    return strata


def _table(place: np.ndarray, bins: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(A, B) float64 counts: exact in sums below 2**53, in whatever order a BLAS adds."""
    flat = np.bincount(place * shape[1] + bins, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float64)


def _keys(low: np.ndarray, high: np.ndarray, seed: int) -> np.ndarray:
    """(M,) uint64, as good as random, of pairs: SplitMix64's finaliser (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        key = low.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + high.astype(np.uint64)
        key += np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            key = (key ^ (key >> np.uint64(shift))) * np.uint64(factor)
    return key ^ (key >> np.uint64(31))
