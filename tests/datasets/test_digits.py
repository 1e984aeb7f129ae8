"""The embedded default: a fixed, stratified split of scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from stages import datasets
from tests.datasets.bench import Bench

NOWHERE = Path("/nonexistent")  # digits needs no data root


def test_every_digit_is_in_exactly_one_split():
    train, test = datasets.read("digits", NOWHERE).splits
    assert (train.name, test.name) == ("train", "test")
    both = np.concatenate([train.pixels, test.pixels])
    assert both.shape == (1797, 8, 8, 3)
    assert both.dtype == np.uint8
    expected = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    assert (both[..., 0] == both[..., 1]).all()
    assert (both[..., 0] == both[..., 2]).all()
    assert sorted(i.tobytes() for i in both[..., 0]) == sorted(i.tobytes() for i in expected)


def test_the_split_is_stratified_and_fixed():
    train, test = datasets.read("digits", NOWHERE).splits
    shares = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    np.testing.assert_allclose(shares, 0.2, atol=0.005)
    again = datasets.read("digits", NOWHERE).splits[1]
    assert (again.labels == test.labels).all()
    assert (again.pixels == test.pixels).all()


def test_class_names():
    assert datasets.read("digits", NOWHERE).classes == list("0123456789")


def test_prepare_packs_them_without_a_data_root(tmp_path: Path):
    train, test = datasets.read("digits", NOWHERE).splits
    bench = Bench(tmp_path)
    bench.root.rmdir()
    store = bench.run("digits")
    assert store.splits.tolist() == ["train"] * 1437 + ["test"] * 360
    assert (store.packed == np.concatenate([train.pixels, test.pixels])).all()
    assert (store.labels == np.concatenate([train.labels, test.labels])).all()
    assert store.classes == datasets.read("digits", NOWHERE).classes
