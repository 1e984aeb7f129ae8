import numpy as np
import pytest

from stages.common.unit import unit_rows
from stages.mining import join, walk
from stages.mining.walk import Walk, nearest


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
    return two / np.sqrt(np.outer(two.diagonal(), two.diagonal()))


@pytest.mark.parametrize("k", [1, 5, 89])
def test_as_with_dense_matrices(monkeypatch, k):
    monkeypatch.setattr(walk, "BLOCK", 16)
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


def test_nearest_is_exact_with_ties_by_number():
    x = np.concatenate([cloud(40), cloud(40)])  # each row twice
    near, value = nearest(x, 3)
    assert (near[:, 0] == (np.arange(80) + 40) % 80).all()
    np.testing.assert_allclose(value[:, 0], 1, atol=1e-6)
    assert (value[:, 1] == value[:, 2]).all()
    assert (near[:, 1] < near[:, 2]).all()


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_too_few_rows(rows):
    score = Walk(cloud(rows) if rows else np.empty((0, 6), np.float32), 10)
    assert len(join(score.blocks(0.0, 1.0)).anchor) == (1 if rows == 2 else 0)
    assert {row["accuracy"] for row in score.curve(np.full(rows, -1))} == {None}
