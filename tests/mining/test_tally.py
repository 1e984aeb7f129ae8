import numpy as np
import pytest

from stages.common.explored import bins_of
from stages.common.unit import unit_rows
from stages.mining import find_pairs
from stages.mining.cosine import Cosine
from stages.mining.tally import KEPT, SHOWN, Partners, Tally, strata_of

EDGES = np.round(np.arange(0.8, 1.0005, 0.001), 6)


def cosine(x: np.ndarray, tmp_path) -> Cosine:
    return Cosine(unit_rows(x), 0, "auto", 2**28, tmp_path)


def cloud(n: int, dim: int = 4) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, dim)).astype(np.float32)


def tally_of(score: Cosine, labels: np.ndarray, seed: int = 0) -> Tally:
    tally = Tally(EDGES, labels, seed)
    for block in score.partners(EDGES[0]):
        tally.add(block)
    return tally


@pytest.mark.parametrize("thousandth", range(800, 1001, 10))
def test_an_edge_belongs_to_the_bin_that_starts_there(thousandth):
    value = np.float32(thousandth / 1000)
    found = bins_of(np.array([value, np.nextafter(value, np.float32(0))]), EDGES)
    first = min(thousandth - 800, 199)
    assert found.tolist() == [first, thousandth - 801 if thousandth < 1000 else 199]


def test_every_interval_is_that_of_all_pairs(tmp_path):
    x = cloud(400)
    labels = np.random.default_rng(0).integers(-1, 3, 400)
    tally = tally_of(cosine(x, tmp_path), labels)
    for first, last in ((0, 199), (150, 180), (37, 37), (190, 199)):
        pairs = find_pairs(x, EDGES[first], 1)
        pairs = pairs.take(bins_of(pairs.similarity, EDGES) <= last)
        known = (labels[pairs.anchor] >= 0) & (labels[pairs.positive] >= 0)
        right = known & (labels[pairs.anchor] == labels[pairs.positive])
        degrees = np.bincount(np.r_[pairs.anchor[known], pairs.positive[known]], minlength=400)
        inside = slice(first, last + 1)
        assert tally.pairs[inside].sum() == 2 * len(pairs.anchor)
        assert tally.known[inside].sum() == 2 * known.sum()
        assert tally.right[inside].sum() == 2 * right.sum()
        assert tally.covered[first, last] == len(np.unique(np.r_[pairs.anchor, pairs.positive]))
        assert tally.squares[first, last] == np.square(degrees).sum()


def test_the_sample_depends_neither_on_blocks_nor_on_which_of_two_is_the_anchor(
    tmp_path, monkeypatch
):
    score, labels = cosine(cloud(300, 3), tmp_path), np.zeros(300, int)
    expected = tally_of(score, labels).sample()
    monkeypatch.setattr("stages.mining.cosine.BLOCK", 17)
    for found, wanted in zip(tally_of(score, labels).sample(), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
    assert np.any(tally_of(score, labels, 1).sample()[0].anchor[:9] != expected[0].anchor[:9])


def test_the_sample_shows_every_bin_and_asks_about_pairs_as_frequent_as_they_are(tmp_path):
    score = cosine(cloud(1500, 3), tmp_path)
    tally = tally_of(score, np.full(1500, -1))
    pairs, turn = tally.sample()
    assert (np.diff(pairs.similarity) >= 0).all()
    bins = np.bincount(bins_of(pairs.similarity, EDGES), minlength=200)
    assert (bins >= np.minimum(SHOWN, tally.pairs / 2)).all()
    asked = np.sort(turn[turn >= 0])
    assert asked.tolist() == list(range(len(asked)))
    everything = find_pairs(score.x, 0.8, 1)
    there = set(zip(everything.anchor.tolist(), everything.positive.tolist(), strict=True))
    chosen = list(zip(pairs.anchor.tolist(), pairs.positive.tolist(), strict=True))
    assert set(chosen) <= there
    assert len(set(chosen)) == len(chosen)
    # Each stratum's first answers come before any other's later ones.
    similarity = pairs.similarity[np.argsort(np.where(turn < 0, len(turn), turn))][:7]
    assert (np.diff(similarity) < 0).all()


def test_strata_hold_half_as_many_pairs_as_the_next():
    pairs = np.full(128, 10.0)
    strata = strata_of(pairs)
    sizes = [pairs[first:stop].sum() for first, stop in strata]
    assert sizes == [20, 20, 40, 80, 160, 320, 640]
    assert strata[-1][0] == 0
    assert strata_of(np.zeros(5)) == []
    assert [stop for _, stop in strata_of(np.array([0.0, 3, 0]))] == [3]


def test_few_are_kept_of_a_bin_with_very_many():
    edges, labels = np.array([0.9, 0.95, 1.0]), np.zeros(5000, int)
    tally = Tally(edges, labels, 0)
    for anchor in range(20):
        partner = np.arange(20, 5000)
        place = np.zeros(len(partner), int)
        similarity = np.full(len(partner), 0.92, np.float32)
        tally.add(Partners(np.array([anchor]), place, partner, similarity))
    assert len(tally.kept.bins) == KEPT
    assert len(set(tally.kept.low.tolist())) > 5  # at random, not the first that came
    assert tally.pairs.tolist() == [20 * 4980, 0]
