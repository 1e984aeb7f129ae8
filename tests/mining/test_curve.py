import numpy as np
import pytest

from stages.common.intervals import accuracy_interval
from stages.mining import curve, find_pairs
from stages.mining.curve import threshold_curve


def cloud(n: int, dim: int = 3) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, dim)).astype(np.float32)


@pytest.mark.parametrize("hundredth", range(80, 101))
def test_an_edge_belongs_to_the_bin_that_starts_there(at_cosines, hundredth):
    rows = threshold_curve(at_cosines(hundredth / 100), np.zeros(2, np.int32), 0)
    full = [row["similarity"] for row in rows if row["pairs"]]
    assert full == [min(hundredth, 99) / 100]


def test_overshoot_of_one_is_in_the_last_bin():
    x = np.array([[1 + 5e-7, 0], [1 + 5e-7, 0]], np.float32)
    last = threshold_curve(x, np.zeros(2), 0)[-1]
    assert (last["similarity"], last["pairs"], last["accuracy"], last["judged"]) == (0.99, 1, 1, 1)


def test_all_rows_as_anchors_count_exactly():
    x = cloud(200)
    labels = np.random.default_rng(0).integers(3, size=200)
    rows = threshold_curve(x, labels, 0)
    assert [row["similarity"] for row in rows] == [n / 100 for n in range(80, 100)]
    for row in rows[:-1]:
        pairs = find_pairs(x, row["similarity"], row["similarity"] + 0.01)
        assert row["pairs"] == len(pairs.anchor)
        share = (labels[pairs.anchor] == labels[pairs.positive]).mean()
        assert row["accuracy"] == pytest.approx(share, abs=1e-6)
        assert row["judged"] == len(pairs.anchor)
        degrees = np.bincount(np.r_[pairs.anchor, pairs.positive])
        expected = accuracy_interval(share * row["judged"], row["judged"], degrees)
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx(expected, abs=1e-6)


def test_a_sample_estimates(monkeypatch):
    x, labels = cloud(1500), np.zeros(1500)
    exact = [row["pairs"] for row in threshold_curve(x, labels, 0)]
    monkeypatch.setattr(curve, "ANCHORS", 500)
    monkeypatch.setattr(curve, "BLOCK", 10_000)
    sampled = [row["pairs"] for row in threshold_curve(x, labels, 0)]
    assert sampled != exact
    np.testing.assert_allclose(sampled, exact, rtol=0.1)
    assert sampled == [row["pairs"] for row in threshold_curve(x, labels, 0)]
    assert sampled != [row["pairs"] for row in threshold_curve(x, labels, 1)]


def test_no_labels_no_accuracy():
    rows = threshold_curve(cloud(50), np.full(50, -1), 0)
    assert {row["accuracy"] for row in rows} == {row["accuracy_low"] for row in rows} == {None}
    assert {row["judged"] for row in rows} == {0}
    assert sum(row["pairs"] for row in rows) > 0


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows(n):
    assert {row["pairs"] for row in threshold_curve(cloud(n), np.zeros(n), 0)} == {0}
