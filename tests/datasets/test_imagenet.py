"""ImageNet as torchvision unpacks it, streamed from its folders."""

from __future__ import annotations

import shutil

import pytest
import torch

from stages.common.errors import BrokenImages, DataError
from tests.datasets import samples
from tests.datasets.bench import Bench

SIZES = [(9, 7), (6, 8)]


@pytest.fixture(autouse=True)
def _unpacked(bench: Bench):
    counts = {"train/n01": 2, "train/n02": 2, "train/n03": 1}
    samples.folders(bench.root, counts | {"val/n01": 1, "val/n02": 1, "val/n03": 1}, SIZES)
    names = {"n01": ("tench", "Tinca tinca"), "n02": ("goldfish",), "n03": ("white shark",)}
    torch.save((names, sorted(names)), bench.root / "meta.bin")


def test_images_stay_in_their_folders(bench: Bench):
    store = bench.run("imagenet")
    assert store.packed is None
    assert store.ids.tolist() == list(range(8))
    assert store.splits.tolist() == ["train"] * 5 + ["test"] * 3
    assert store.labels.tolist() == [0, 0, 1, 1, 2, 0, 1, 2]
    assert store.classes == ["tench", "goldfish", "white shark"]
    for i in range(8):
        assert (store.pixels(i) == samples.pixels(i, SIZES[i % 2])).all()
    assert bench.columns()["path"][4:6] == ["train/n03/0.png", "val/n01/0.png"]


def test_an_unpacking_that_was_cut_short_is_noticed(bench: Bench):
    """torchvision would number the classes that are there: n03 would be 1 in train, 2 in val."""
    shutil.rmtree(bench.root / "train/n02")
    with pytest.raises(DataError, match=r"val: differs from train/ in 1 classes \(n02\)") as error:
        bench.run("imagenet")
    assert "\n" not in str(error.value)
    assert not bench.manifest.exists()


def test_a_missing_val_folder_without_its_archive_is_named(bench: Bench):
    shutil.rmtree(bench.root / "val")
    with pytest.raises(DataError, match="ILSVRC2012_img_val") as error:
        bench.run("imagenet")
    assert str(bench.root) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_truncated_image_is_named(bench: Bench):
    (bench.root / "train/n02/1.png").write_bytes(samples.truncated_jpeg())
    with pytest.raises(BrokenImages, match=r"train/n02/1\.png.*skip_broken"):
        bench.run("imagenet")
    store = bench.run("imagenet", skip_broken=True)
    assert store.labels.tolist() == [0, 0, 1, 2, 0, 1, 2]
    assert bench.about()["left_out"] == 1


def test_without_the_devkit_imagefolder_is_pointed_out(bench: Bench):
    (bench.root / "meta.bin").unlink()
    with pytest.raises(DataError, match=r"data\.name: imagefolder"):
        bench.run("imagenet")
