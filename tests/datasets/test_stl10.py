"""STL-10 from its binary files to packed pixels, in three splits."""

from __future__ import annotations

import numpy as np
import pytest

from stages.common.errors import DataError
from tests.datasets import samples
from tests.datasets.bench import Bench


def test_ids_splits_and_labels(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    made = samples.stl10(bench.root, monkeypatch)
    store = bench.run("stl10")
    assert store.ids.tolist() == list(range(10))
    assert store.splits.tolist() == ["train"] * 5 + ["labelled"] * 3 + ["test"] * 2
    assert store.labels.tolist() == [-1] * 5 + [0, 1, 2] + [0, 1]
    assert store.classes == [f"class{i}" for i in range(10)]
    expected = np.concatenate([made[name] for name in ("unlabeled", "train", "test")])
    assert (store.packed == expected).all()


def test_limit_spares_the_labelled_and_the_test_split(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    made = samples.stl10(bench.root, monkeypatch)
    store = bench.run("stl10", limit=2)
    assert [len(store.select(name)) for name in ("train", "labelled", "test")] == [2, 3, 2]
    assert (store.packed[store.select("labelled")] == made["train"]).all()
    assert (store.packed[store.select("test")] == made["test"]).all()
    unlabelled = [image.tobytes() for image in made["unlabeled"]]
    assert all(store.packed[i].tobytes() in unlabelled for i in store.select("train"))


@pytest.mark.parametrize("name", ["unlabeled_X.bin", "test_y.bin"])
def test_a_changed_or_missing_file_is_named_with_its_remedy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
):
    samples.stl10(bench.root, monkeypatch)
    file = bench.root / "stl10_binary" / name
    for spoil in (lambda: file.write_bytes(file.read_bytes() + b"x"), file.unlink):
        spoil()
        with pytest.raises(DataError, match=r"unpack stl10_binary\.tar\.gz") as error:
            bench.run("stl10")
        assert str(bench.root) in str(error.value)
        assert "\n" not in str(error.value)
