"""data.split: a seeded, stratified test split of the training images."""

from __future__ import annotations

import numpy as np
import pytest

from stages.common.errors import ParamError
from stages.datasets._holdout import hold_out
from tests.datasets import samples
from tests.datasets.bench import EQUAL, UNEQUAL, Bench


def counts(labels: np.ndarray, rows: np.ndarray) -> list[int]:
    return np.bincount(labels[rows], minlength=labels.max() + 1).tolist()


def test_every_class_gives_its_share():
    labels = np.repeat([0, 1, 2], [100, 40, 60])[np.random.default_rng(0).permutation(200)]
    rows = hold_out(labels, 0.1, seed=0)
    assert (np.diff(rows) > 0).all()
    assert counts(labels, rows) == [10, 4, 6]
    assert (hold_out(labels, 0.1, seed=0) == rows).all()
    others = [hold_out(labels, 0.1, seed=s).tobytes() for s in range(5)]
    assert len(set(others)) == 5


def test_the_whole_is_as_near_to_the_fraction_as_images_come():
    """A tenth of 15 each is one or two: by lot, and not the first classes two and the last one."""
    labels = np.repeat(np.arange(20), 15)
    for seed in range(3):
        found = counts(labels, hold_out(labels, 0.1, seed))
        assert sum(found) == 30
        assert set(found) == {1, 2}
        assert found != sorted(found, reverse=True)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.99])
def test_small_classes_are_on_both_sides_and_the_smallest_trains(fraction: float):
    labels = np.repeat([0, 1, 2, 5], [1, 2, 3, 400])
    found = counts(labels, hold_out(labels, fraction, seed=0))
    assert found[0] == 0
    assert found[1] == 1
    assert 1 <= found[2] <= 2
    assert found[5] == round(400 * fraction)


def test_it_is_the_same_on_every_machine():
    labels = np.arange(40) % 4
    expected = [3, 9, 10, 20, 29, 32, 35, 38]
    assert hold_out(labels, 0.2, seed=7).tolist() == expected


@pytest.mark.parametrize("sizes", [EQUAL, UNEQUAL])
def test_images_change_sides_and_nothing_else(bench: Bench, sizes: list):
    counts = {"train/cat": 6, "train/dog": 4, "train": 3}
    files = samples.folders(bench.root, counts, sizes)
    whole = bench.run("imagefolder")
    seen = [whole.pixels(i).tobytes() for i in range(13)]
    store = bench.run("imagefolder", split=0.4)
    assert store.ids.tolist() == list(range(13))
    assert store.splits.tolist() == ["train"] * 9 + ["test"] * 4
    assert np.bincount(store.labels[store.select("test")]).tolist() == [2, 2]
    assert (store.labels[:9] == -1).sum() == 3, "what has no label trains"
    kept = [store.pixels(i).tobytes() for i in range(13)]
    assert sorted(kept) == sorted(seen)
    assert [seen.index(x) for x in kept[:9]] == sorted(seen.index(x) for x in kept[:9])
    labels = [whole.labels[seen.index(x)] for x in kept]
    assert store.labels.tolist() == labels
    assert len(files) == 13


def test_parquet_rows_are_divided_too(bench: Bench):
    images = [samples.pixels(i, UNEQUAL[i % 3]) for i in range(8)]
    files = [samples.encoded(image) for image in images]
    samples.shard(bench.root / "train-0.parquet", files[:5], [0, None, 1, 0, 1])
    samples.shard(bench.root / "train-1.parquet", files[5:], [0, -1, 1])
    store = bench.run("parquet", split=0.5)
    assert store.splits.tolist() == ["train"] * 5 + ["test"] * 3
    assert sorted(store.labels[:5].tolist()) in ([-1, -1, 0, 0, 1], [-1, -1, 0, 1, 1])
    by_content = {image.tobytes(): i for i, image in enumerate(images)}
    rows = [by_content[store.pixels(i).tobytes()] for i in range(8)]
    assert store.labels.tolist() == [[0, -1, 1, 0, 1, 0, -1, 1][row] for row in rows]
    assert rows[:5] == sorted(rows[:5])
    assert rows[5:] == sorted(rows[5:])


def test_another_limit_is_tested_on_the_same_images(bench: Bench):
    samples.folders(bench.root, {"train/cat": 12, "train/dog": 8}, EQUAL)
    tests = []
    for limit, train in ((None, 16), (5, 5)):
        store = bench.run("imagefolder", split=0.2, limit=limit)
        assert len(store.select("train")) == train
        tests.append(store.packed[store.select("test")].tobytes())
    assert tests[0] == tests[1]
    with pytest.raises(ParamError, match=r"data\.limit: 17 is above the 16 training images"):
        bench.run("imagefolder", split=0.2, limit=17)


def test_a_test_split_of_its_own_is_named(bench: Bench):
    samples.folders(bench.root, {"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 1}, EQUAL)
    with pytest.raises(
        ParamError, match=r"data\.split: 0\.1, but imagefolder .*2 images in val/: "
    ):
        bench.run("imagefolder", split=0.1)
    with pytest.raises(ParamError, match=r"data\.split: 0\.1, but digits has .*360 images: set it"):
        bench.run("digits", split=0.1)


def test_a_test_split_without_labels_gives_way(bench: Bench, caplog: pytest.LogCaptureFixture):
    """As in a competition, whose test labels are secret."""
    samples.folders(bench.root, {"train/cat": 5, "train/dog": 5, "test": 3}, EQUAL)
    store = bench.run("imagefolder", split=0.2)
    assert store.splits.tolist() == ["train"] * 8 + ["test"] * 2
    assert "test/: has no labels" in caplog.text


def test_without_labels_a_test_split_is_refused(bench: Bench):
    samples.folders(bench.root, {"train": 5}, EQUAL)
    with pytest.raises(ParamError, match=r"data\.split: 0\.1, but imagefolder has no labels"):
        bench.run("imagefolder", split=0.1)


@pytest.mark.parametrize("fraction", [0, 1, 0.0, 1.0, -0.1, 10])
def test_only_a_fraction_is_taken(bench: Bench, fraction: float):
    with pytest.raises(ParamError, match=r"data\.split"):
        bench.run("digits", split=fraction)


def test_classes_of_one_image_are_told(bench: Bench, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    samples.folders(bench.root, {"train/cat": 5, "train/dog": 1, "train/fox": 1}, EQUAL)
    store = bench.run("imagefolder", split=0.2)
    assert store.labels[store.select("test")].tolist() == [0]
    assert "1 of 7 training images with a label make the test split" in caplog.text
    assert "2 classes of a single image are not tested" in caplog.text
