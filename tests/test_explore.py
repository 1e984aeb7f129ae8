"""The stage explore, on made embeddings."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stages import explore, mine
from stages.common.explored import Explored, read_explored
from stages.common.intervals import accuracy_interval
from stages.common.sepp_sections import SeppScore
from stages.explore import edges_of
from stages.mining import cosine, find_pairs
from tests.made import write_embeddings, write_manifest

ROWS = 60
CURVE = ("similarity", "pairs", "accuracy", "accuracy_low", "accuracy_high", "judged")


def params(seed: int = 0, neighbours: int = 0, transform: str = "none") -> explore.Params:
    sepp = SeppScore(transform=transform, shrinkage=0.03, neighbours=neighbours, memory=1.0)
    return explore.Params(seed=seed, sepp=sepp)


class Case:
    def __init__(self, folder: Path, rows: int = ROWS, dim: int = 6) -> None:
        rng = np.random.default_rng(0)
        self.labels = rng.integers(4, size=2 * rows).astype(np.int32)
        centres = rng.standard_normal((4, dim))
        x = centres[self.labels] + 0.3 * rng.standard_normal((2 * rows, dim))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        self.ids, self.x = np.arange(1, 2 * rows, 2), x[1::2].astype(np.float32)
        self.inputs = explore.Inputs(folder / "manifest.parquet", folder / "embeddings.parquet")
        self.outputs = explore.Outputs(folder / "out/explored", folder / "out/curve.csv")
        write_manifest(self.inputs.manifest, self.labels)
        write_embeddings(self.inputs.embeddings, self.ids, self.x)

    def run(self, **changes: object):
        explore.run(params(**changes), self.inputs, self.outputs)
        return read_explored(self.outputs.explored), list(csv.DictReader(self.outputs.curve.open()))


@pytest.fixture
def case(tmp_path) -> Case:
    return Case(tmp_path)


def test_counts_are_those_that_mining_finds(case):
    found, curve = case.run()
    own = case.labels[case.ids]
    for low, high in ((0.9, 1.0), (0.93, 0.99), (0.97, 0.971)):
        first, last = found.bins(low, high)
        pairs = find_pairs(case.x, low, high)
        right = own[pairs.anchor] == own[pairs.positive]
        degrees = np.bincount(np.r_[pairs.anchor, pairs.positive])
        assert found.count(first, last) == len(pairs.anchor)
        assert found.covered[first, last] == np.count_nonzero(degrees)
        if len(right):
            expected = (right.mean(), *accuracy_interval(right.sum(), len(right), degrees))
            assert found.accuracy(first, last) == pytest.approx(expected)
    assert tuple(curve[0]) == CURVE
    total = sum(int(row["pairs"]) for row in curve)
    assert total == len(find_pairs(case.x, float(found.edges[0]), 1.0).anchor) >= 4 * ROWS
    assert found.exact
    assert found.about["train"] == 2 * ROWS
    assert set(found.shown["anchor"].to_pylist()) <= set(case.ids.tolist())


def test_the_same_inputs_give_the_same_bytes_and_another_seed_another_sample(case):
    def read() -> dict[str, bytes]:
        return {f.name: f.read_bytes() for f in case.outputs.explored.iterdir()}

    case.run()
    before = read()
    case.run()
    assert read() == before
    case.run(seed=1)
    after = read()
    assert after["pairs.parquet"] != before["pairs.parquet"]


def test_walks_and_transforms_have_ranges_of_their_own(case):
    fingerprints = {
        case.run(**changes)[0].about["fingerprint"]
        for changes in ({}, {"neighbours": 5}, {"transform": "whiten"})
    }
    assert len(fingerprints) == 3


def test_of_very_many_images_a_sample_tells(tmp_path, monkeypatch):
    case = Case(tmp_path, 1500, 4)
    exact, _ = case.run()
    monkeypatch.setattr(cosine, "COMPARED", 1_000_000)
    monkeypatch.setattr(cosine, "FEWEST", 500)
    about, _ = case.run()
    assert about.about["anchors"] == 666
    assert not about.exact
    first, last = about.bins(0.95, 1.0)
    assert about.count(first, last) == pytest.approx(exact.count(first, last), rel=0.1)
    assert about.covered[first, last] == pytest.approx(exact.covered[first, last], rel=0.1)
    share, low, high = about.accuracy(first, last)
    truth, lower, higher = exact.accuracy(first, last)
    assert low < truth < high  # as sure as a sample is
    assert high - low > 1.3 * (higher - lower)
    assert share == pytest.approx(truth, abs=0.03)


def test_no_labels(case):
    case.labels[:] = -1
    write_manifest(case.inputs.manifest, case.labels)
    found, curve = case.run()
    assert found.about["chance"] is None
    assert found.accuracy(0, len(found.pairs) - 1) is None
    assert {row["accuracy"] for row in curve} == {""}
    assert (found.shown["turn"].to_numpy() >= 0).sum() > 20


@pytest.mark.parametrize("rows", [1, 2])
def test_few_images(tmp_path, rows):
    case = Case(tmp_path, rows)
    found, _ = case.run()
    assert found.pairs.sum() <= rows - 1


@pytest.mark.parametrize(
    ("low", "step", "count"),
    [
        (0.8, 0.001, 200),
        (0.9, 0.001, 100),
        (0.99, 0.0002, 50),
        (0.0, 0.005, 200),
        (0.5, 0.002, 250),
        (0.97, 0.0005, 60),
    ],
)
def test_the_resolution_is_what_the_range_needs(low, step, count):
    edges = edges_of(low)
    assert (len(edges) - 1, edges[0], edges[-1]) == (count, low, 1.0)
    assert np.allclose(np.diff(edges), step)


@pytest.mark.parametrize("hundredth", range(100))
def test_bins_are_equal_end_at_one_and_divide_the_curve_s(hundredth):
    edges = edges_of(hundredth / 100)
    assert np.allclose(np.diff(edges), edges[1] - edges[0])
    assert (edges[0], edges[-1]) == (hundredth / 100, 1)
    assert len(edges) <= 401
    pairs = np.ones(len(edges) - 1)
    square = np.zeros((len(pairs), len(pairs)))
    made = Explored(edges, pairs, pairs, pairs, square, square, pa.table({}), {})
    assert sum(row["pairs"] for row in made.curve()) == len(pairs)


def test_images_that_are_all_alike_are_counted_from_few(tmp_path, monkeypatch):
    """In bounded memory and time: of a collapsed encoder every row is every row's partner."""
    monkeypatch.setattr(cosine, "FOUND", 100_000)
    monkeypatch.setattr(cosine, "HELD", 10_000)
    case = Case(tmp_path, 1000)
    write_embeddings(case.inputs.embeddings, case.ids, np.ones_like(case.x) / 6**0.5)
    found, _ = case.run()
    assert found.about["anchors"] == 100
    assert found.pairs.sum() == pytest.approx(1000 * 999 / 2)
    assert found.covered[0, -1] == 1000


def test_a_collapsed_encoder_does_not_reach_far_down(tmp_path):
    """All pairs are above 0.8, where the curve would begin: no more are gone through than help."""
    case = Case(tmp_path, 300, 8)
    x = 1 + 0.05 * np.random.default_rng(0).standard_normal((300, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    write_embeddings(case.inputs.embeddings, case.ids, x.astype(np.float32))
    found, _ = case.run()
    assert 4 * 300 <= found.pairs.sum() < 45_000
    assert found.edges[0] >= 0.99


def test_mining_another_interval_needs_no_other_exploring():
    assert not set(explore.Params.model_fields["sepp"].annotation.model_fields) & {"min", "max"}
    assert (
        mine.Params.model_fields["sepp"].annotation.model_fields.keys()
        > SeppScore.model_fields.keys()
    )
