import tracemalloc

import numpy as np
import pytest

from stages.common.unit import unit_rows
from stages.mining import graph, join, nearest
from stages.mining.graph import memory_needed
from stages.mining.tally import Partners
from stages.mining.walk import Walk


def cloud(rows: int = 90, dim: int = 6) -> np.ndarray:
    return unit_rows(np.random.default_rng(rows).standard_normal((rows, dim)).astype("f4"))


def brute(x: np.ndarray, k: int) -> np.ndarray:
    """(N, N) similarities, with dense matrices."""
    cosine = np.clip(x.astype(np.float64) @ x.T.astype(np.float64), 0, None)
    np.fill_diagonal(cosine, -1)
    listed = np.zeros_like(cosine)
    for i, row in enumerate(cosine):
        near = np.argsort(-row, kind="stable")[:k]
        listed[i, near] = row[near] ** 4
    weights = listed + listed.T
    weights += np.diag(weights.max(1) + 1e-6)
    scale = 1 / np.sqrt(weights.sum(1))
    step = scale[:, None] * weights * scale
    two = step @ step
    return (two / np.sqrt(np.outer(two.diagonal(), two.diagonal()))) ** 0.25


@pytest.mark.parametrize("k", [1, 5, 89])
def test_as_with_dense_matrices(monkeypatch, k):
    monkeypatch.setattr(graph, "PAIRS", 5_000)
    x = cloud()
    expected = brute(x, k)
    found = join(Walk(x, k).blocks(0.0, 1.0))
    np.testing.assert_allclose(found.similarity, expected[found.anchor, found.positive], atol=1e-5)
    assert len(found.anchor) == np.count_nonzero(np.triu(expected, 1) > 0)
    order = np.lexsort((found.positive, found.anchor))
    assert (order == np.arange(len(order))).all()


def test_an_interval_is_inclusive_and_counted():
    score = Walk(cloud(), 5)
    every = join(score.blocks(0.0, 1.0)).similarity
    low, high = np.sort(every)[[100, 150]]
    inside = join(score.blocks(float(low), float(high)))
    assert len(inside.anchor) == np.count_nonzero((every >= low) & (every <= high)) >= 51
    cut = score.threshold(50, 1.0)
    assert score.expected(cut, 1.0) >= 50 > score.expected(cut + 0.001, 1.0)


def small_parts(monkeypatch) -> None:
    for module, name, size in ((nearest, "FEW", 7), (graph, "ROWS", 11), (graph, "PAIRS", 40)):
        monkeypatch.setattr(module, name, size)


@pytest.mark.parametrize("k", [1, 4, 60])
def test_the_parts_do_not_matter(monkeypatch, k):
    x = np.concatenate([cloud(), cloud(40)])
    one = Walk(x, k)
    expected, partners = join(one.blocks(0.0, 1.0)), list(one.partners(0.3))
    small_parts(monkeypatch)
    many = Walk(x, k, memory=0)
    assert sum(1 for _ in many.blocks(0.0, 1.0)) > 10
    for column, other in zip(expected, join(many.blocks(0.0, 1.0)), strict=True):
        assert (column == other).all()
    parts = list(many.partners(0.3))
    assert sum(len(part.anchors) for part in parts) == len(x)
    for column, other in zip(directed(partners), directed(parts), strict=True):
        assert (column == other).all()


def directed(parts: list[Partners]) -> tuple[np.ndarray, ...]:
    anchor = np.concatenate([part.anchors[part.place] for part in parts])
    return anchor, *(np.concatenate([part[n] for part in parts]) for n in (2, 3))


def test_partners_are_all_pairs_from_both_ends():
    score = Walk(cloud(), 5)
    pairs = join(score.blocks(0.4, 1.0))
    anchor, partner, similarity = directed(list(score.partners(0.4)))
    assert len(anchor) == 2 * len(pairs.anchor)
    upper = anchor < partner
    for column, other in zip(pairs, (anchor, partner, similarity), strict=True):
        assert (column == other[upper]).all()
    order = np.lexsort((anchor[~upper], partner[~upper]))
    for column, other in zip(pairs, (partner, anchor, similarity), strict=True):
        assert (column == other[~upper][order]).all()


def test_of_an_interval_no_more_is_made_than_it_holds():
    score = Walk(cloud(), 5)
    every = join(score.blocks(0.0, 1.0))
    middle = float(np.median(every.similarity))
    some = join(pairs for _, pairs in score.graph.pairs(middle, 2**20))
    for column, other in zip(every.take(every.similarity >= middle), some, strict=True):
        assert (column == other).all()


def test_a_row_that_all_are_near_to():
    """A star: every pair has its middle as a common neighbour."""
    x = np.eye(50, dtype="f4") + 0.2
    x[0] = 1
    score = Walk(unit_rows(x), 1)
    assert (score.graph.reach == 50).sum() >= 49
    found = join(score.blocks(0.0, 1.0))
    assert len(found.anchor) == 50 * 49 / 2
    assert score.expected(0.0, 1.0) == len(found.anchor)


def test_memory_is_kept_to():
    """Of what NumPy allocates; 12 MiB are blocks of the least size."""
    x, k = cloud(20_000, 16), 10
    memory = memory_needed(len(x), k)
    tracemalloc.start()
    score = Walk(x, k, memory)
    assert sum(len(part.partner) for part in score.partners(0.1)) > 2 * 10**5
    assert sum(len(pairs.anchor) for pairs in score.blocks(0.1, 1.0)) > 10**5
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < memory + 12 * 2**20


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_too_few_rows(rows):
    score = Walk(cloud(rows) if rows else np.empty((0, 6), np.float32), 10)
    assert len(join(score.blocks(0.0, 1.0)).anchor) == (1 if rows == 2 else 0)
    assert sum(len(part.partner) for part in score.partners(0.0)) == (2 if rows == 2 else 0)
