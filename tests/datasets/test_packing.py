"""The three ways in which prepare keeps images, each read back through ImageStore."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.common.errors import ArtifactError, DataError
from stages.common.images import ImageStore
from tests.datasets import samples
from tests.datasets.bench import EQUAL, FOLDERS, UNEQUAL, Bench, write_shards


def test_folders_of_equal_images_are_packed(bench: Bench):
    samples.folders(bench.root, FOLDERS, EQUAL)
    store = bench.run("imagefolder")
    assert store.packed.shape == (7, 6, 8, 3)
    assert store.packed.dtype == np.uint8
    for i in range(7):
        assert (store.packed[i] == samples.pixels(i)).all()
    assert store.select("train").tolist() == [0, 1, 2, 3, 4]
    assert store.select("test").tolist() == [5, 6]
    assert store.select("train").dtype == np.int64
    assert store.labels.tolist() == [0, 0, 0, 1, 1, 0, 1]
    assert store.classes == ["cat", "dog"]
    assert bench.about()["left_out"] == 0


@pytest.mark.parametrize("changes", [{}, {"pack_gib": 0.0}])
def test_folders_stay_where_they_are_if_unequal_or_too_large(bench: Bench, changes: dict):
    sizes = EQUAL if changes else UNEQUAL
    files = samples.folders(bench.root, FOLDERS, sizes)
    store = bench.run("imagefolder", **changes)
    assert store.packed is None
    assert np.load(bench.images).shape == (0,)
    for i in range(7):
        assert (store.pixels(i) == samples.pixels(i, sizes[i % len(sizes)])).all()
    columns = bench.columns()
    assert columns["path"][0] == "train/cat/0.png"
    digests = [hashlib.blake2b(f.read_bytes(), digest_size=8).hexdigest() for f in files]
    assert columns["digest"] == digests
    assert columns["offset"] == columns["length"] == [-1] * 7


def test_shards_of_equal_images_are_packed(bench: Bench):
    images = write_shards(bench.root, EQUAL)
    store = bench.run("parquet")
    assert (store.packed == np.stack(images)).all()
    assert store.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 2, 1, 0]
    assert store.splits.tolist() == ["train"] * 7 + ["test"] * 3
    assert store.classes == ["cat", "dog", "fox"]


@pytest.mark.parametrize("changes", [{}, {"pack_gib": 0.0}])
def test_shards_are_kept_encoded_if_unequal_or_too_large(bench: Bench, changes: dict):
    images = write_shards(bench.root, EQUAL if changes else UNEQUAL)
    store = bench.run("parquet", **changes)
    assert store.packed is None
    for i, image in enumerate(images):
        assert (store.pixels(i) == image).all()
    columns = bench.columns()
    run = np.load(bench.images)
    assert (run.ndim, len(run)) == (1, sum(columns["length"]))
    third = run[columns["offset"][3] : columns["offset"][3] + columns["length"][3]]
    assert third.tobytes() == samples.encoded(images[3])
    assert columns["path"] == columns["digest"] == [None] * 10


def test_grey_and_transparent_images_become_rgb(bench: Bench):
    (bench.root / "train/cat").mkdir(parents=True)
    grey = samples.pixels(0)[..., 0]
    Image.fromarray(grey).save(bench.root / "train/cat/0.png")
    Image.fromarray(samples.pixels(1)).convert("RGBA").save(bench.root / "train/cat/1.png")
    store = bench.run("imagefolder")
    assert (store.packed[0] == grey[..., None]).all()
    assert (store.packed[1] == samples.pixels(1)).all()


@pytest.mark.parametrize("sizes", [EQUAL, UNEQUAL])
def test_a_store_travels_to_loader_workers(bench: Bench, sizes: list):
    images = write_shards(bench.root, sizes)
    store = bench.run("parquet")
    assert (store.pixels(2) == images[2]).all()  # its file is open by now
    carried = pickle.dumps(store)
    assert (pickle.loads(carried).pixels(2) == images[2]).all()
    assert pickle.loads(carried).read(9).mode == "RGB"


def test_an_image_that_went_away_is_named(bench: Bench):
    files = samples.folders(bench.root, FOLDERS, UNEQUAL)
    store = bench.run("imagefolder")
    files[3].unlink()
    with pytest.raises(DataError) as error:
        store.read(3)
    assert str(files[3]) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_store_names_what_prepare_has_yet_to_write(tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"manifest\.parquet.*dvc repro prepare"):
        ImageStore(tmp_path / "manifest.parquet", tmp_path / "images.npy")


@pytest.mark.slow
def test_real_cifar10_round_trips(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    folder = os.environ.get("SEPP_TEST_CIFAR")
    if not folder:
        pytest.skip("SEPP_TEST_CIFAR does not name a folder with CIFAR-10 as Parquet")
    monkeypatch.setenv("SEPP_DATA_ROOT", folder)
    store = bench.run("parquet", limit=1000)
    assert store.packed.shape == (11_000, 32, 32, 3)
    assert set(np.bincount(store.labels[store.select("test")])) == {1000}
