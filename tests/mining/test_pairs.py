"""Sorting of pairs, in memory and on the disk."""

import numpy as np
import pytest

from stages.mining import Pairs, join
from stages.mining.pairs import RECORD, sort_pairs


def some_pairs(count: int, rows: int, seed: int = 0) -> Pairs:
    """Each once, in random order; the first row has many."""
    rng = np.random.default_rng(seed)
    i, j = np.sort(rng.integers(rows, size=(2, 2 * count)), axis=0)
    i[: count // 2] = 0
    key = rng.permutation(np.unique((i * rows + j)[i < j]))[:count]
    return Pairs(key // rows, key % rows, rng.random(len(key), np.float32))


def blocks(pairs: Pairs, size: int) -> list[Pairs]:
    return [pairs.take(slice(s, s + size)) for s in range(0, len(pairs.anchor), size)]


@pytest.mark.parametrize("rows", [2, 60, 5_000, 10**7])
@pytest.mark.parametrize("memory", [0, 500, 3_000, 10**9])
def test_sorted_whatever_the_memory(rows, memory, tmp_path):
    pairs = some_pairs(2_000, rows)
    order = np.lexsort((pairs.positive, pairs.anchor))
    found = list(sort_pairs(blocks(pairs, 100), rows, memory, tmp_path))
    for one, other in zip(join(found), pairs.take(order), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert not list(tmp_path.iterdir())


def test_no_more_is_held_than_said(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.mining.pairs.PART", 50)
    pairs = some_pairs(5_000, 200)
    anchors = np.bincount(pairs.anchor).max()
    most = max(len(b.anchor) for b in sort_pairs(blocks(pairs, 50), 200, 100 * RECORD.itemsize))
    assert most <= max(150, anchors)


def test_pairs_that_come_twice_are_kept_once(tmp_path):
    pairs = some_pairs(500, 100)
    for memory in (10**9, 1_000):
        found = join(sort_pairs([pairs, *blocks(pairs, 7)], 100, memory, tmp_path))
        assert len(found.anchor) == len(pairs.anchor)


def test_nothing(tmp_path):
    assert list(sort_pairs([], 0, 10**6, tmp_path)) == []


def test_files_go_when_it_is_given_up(tmp_path):
    sorting = sort_pairs(blocks(some_pairs(2_000, 500), 100), 500, 1_000, tmp_path)
    next(sorting)
    assert list(tmp_path.iterdir())
    sorting.close()
    assert not list(tmp_path.iterdir())
