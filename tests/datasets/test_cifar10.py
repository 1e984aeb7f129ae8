"""CIFAR-10 from its batch files to packed pixels."""

from __future__ import annotations

import pytest

from stages.common.errors import DataError, ParamError
from tests.datasets import samples
from tests.datasets.bench import Bench

LABELS = [i % 10 for i in range(24)]


def test_ids_splits_and_labels_follow_the_batches(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    images = samples.cifar10(bench.root, monkeypatch)
    store = bench.run("cifar10")
    assert store.ids.tolist() == list(range(24))
    assert store.splits.tolist() == ["train"] * 20 + ["test"] * 4
    assert store.labels.tolist() == LABELS
    assert store.classes == [f"class{i}" for i in range(10)]
    assert (store.packed == images).all()
    columns = bench.columns()
    assert columns["path"] == columns["digest"] == [None] * 24
    assert columns["offset"] == columns["length"] == [-1] * 24


def test_limit_takes_labels_along_and_spares_the_test_split(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    images = samples.cifar10(bench.root, monkeypatch)
    store = bench.run("cifar10", limit=6, seed=3)
    rows = [next(i for i, x in enumerate(images) if (x == p).all()) for p in store.packed]
    assert rows == sorted(set(rows))
    assert rows[6:] == [20, 21, 22, 23]
    assert store.labels.tolist() == [LABELS[row] for row in rows]
    with pytest.raises(ParamError, match=r"data\.limit: 21 .* 20 "):
        bench.run("cifar10", limit=21)


def test_decoded_images_that_do_not_fit_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    samples.cifar10(bench.root, monkeypatch)
    with pytest.raises(ParamError, match=r"data\.pack_gib: 0\.0 GiB .* cifar10"):
        bench.run("cifar10", pack_gib=0.0)
    assert not bench.images.exists()


def test_a_missing_batch_is_named_with_its_remedy(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    samples.cifar10(bench.root, monkeypatch)
    (bench.root / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(DataError, match=r"unpack cifar-10-python\.tar\.gz") as error:
        bench.run("cifar10")
    assert str(bench.root) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_batch_with_a_wrong_checksum_is_not_unpickled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    samples.cifar10(bench.root, monkeypatch)
    with (bench.root / "cifar-10-batches-py/test_batch").open("ab") as stream:
        stream.write(b"x")
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("a changed file was unpickled"))
    with pytest.raises(DataError, match="cifar-10-batches-py"):
        bench.run("cifar10")
