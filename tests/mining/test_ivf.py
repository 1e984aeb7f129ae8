"""The approximate engine, and what its recall says."""

import numpy as np
import pytest

from stages.common.errors import SeppError
from stages.mining import find_pairs
from stages.mining.recall import measure_recall


def rows(count: int, noise: float = 0.05) -> np.ndarray:
    """Unit rows, two by two alike."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.standard_normal((count // 2, 32)), 2, axis=0)
    x += noise * rng.standard_normal(x.shape)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_what_it_finds_is_right_and_most_of_all(monkeypatch):
    monkeypatch.setattr("stages.mining.engines.ivf.PROBES", 2)
    x = rows(4000)
    exact, found = find_pairs(x, 0.95, 1), find_pairs(x, 0.95, 1, "ivf")
    numbers = [pairs.anchor * len(x) + pairs.positive for pairs in (exact, found)]
    assert set(numbers[1]) <= set(numbers[0])
    assert 0.8 < len(numbers[1]) / len(numbers[0]) < 1


def test_recall_is_the_share_of_what_brute_force_finds():
    x = rows(400)
    exact = find_pairs(x, 0.95, 1)
    half = exact.take(np.arange(0, len(exact.anchor), 2))
    assert measure_recall(x, [exact], 0.95, 1, 0) == {"rows": 400, "pairs": 200, "share": 1.0}
    assert measure_recall(x, [half], 0.95, 1, 0)["share"] == 0.5
    assert measure_recall(x, [], 0.95, 1, 0)["share"] == 0.0


def test_recall_of_a_sample(monkeypatch):
    monkeypatch.setattr("stages.mining.recall.ROWS", 100)
    x = rows(4000)
    exact = find_pairs(x, 0.95, 1)
    kept = exact.take(np.random.default_rng(1).random(len(exact.anchor)) < 0.7)
    measured = measure_recall(x, [kept], 0.95, 1, 0)
    assert measured["rows"] == 100
    assert 90 <= measured["pairs"] <= 100
    assert abs(measured["share"] - 0.7) < 0.15


def test_no_pair_has_no_recall():
    x = np.eye(20, dtype=np.float32)
    assert measure_recall(x, [], 0.5, 1, 0) == {"rows": 20, "pairs": 0, "share": None}


def test_more_than_the_memory_is_refused():
    with pytest.raises(SeppError, match=r"ivf takes 0\.000119 GiB for 1,000 rows of 32"):
        find_pairs(rows(1000), 0.9, 1, "ivf", memory=1000)
