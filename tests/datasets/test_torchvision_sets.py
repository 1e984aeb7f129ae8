"""CIFAR-10, STL-10 and ImageNet through torchvision's own classes, which never download here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stages import datasets
from stages.common.errors import DataError
from tests.datasets import samples


@pytest.mark.parametrize("name", ["cifar10", "stl10", "imagenet", "imagefolder", "parquet"])
def test_a_missing_root_is_named_with_its_remedy(name: str, tmp_path: Path):
    with pytest.raises(DataError) as error:
        datasets.read(name, tmp_path / "absent")
    message = str(error.value)
    assert str(tmp_path / "absent") in message
    assert "SEPP_DATA_ROOT" in message
    assert name in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["cifar10", "stl10", "imagenet", "imagefolder", "parquet"])
def test_an_empty_root_is_named_on_one_line(name: str, tmp_path: Path):
    with pytest.raises(DataError) as error:
        datasets.read(name, tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = samples.cifar10(tmp_path, monkeypatch)
    dataset = datasets.read("cifar10", tmp_path)
    train, test = dataset.splits
    assert (train.name, test.name) == ("train", "test")
    assert (train.pixels == images[:20]).all()
    assert (test.pixels == images[20:]).all()
    assert train.labels.tolist() == [i % 10 for i in range(20)]
    assert test.labels.tolist() == [0, 1, 2, 3]
    assert dataset.classes[9] == "class9"


def test_cifar10_with_a_wrong_checksum_is_not_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    samples.cifar10(tmp_path, monkeypatch)
    with (tmp_path / "cifar-10-batches-py/test_batch").open("ab") as stream:
        stream.write(b"x")
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("a changed file was unpickled"))
    with pytest.raises(DataError, match="cifar-10-batches-py"):
        datasets.read("cifar10", tmp_path)


def test_stl10_trains_on_the_unlabelled_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = samples.stl10(tmp_path, monkeypatch)
    dataset = datasets.read("stl10", tmp_path)
    splits = {split.name: split for split in dataset.splits}
    assert list(splits) == ["train", "labelled", "test"]
    assert splits["train"].labels.tolist() == [-1] * 5
    assert splits["labelled"].labels.tolist() == [0, 1, 2]
    assert splits["test"].labels.tolist() == [0, 1]
    for ours, theirs in (("train", "unlabeled"), ("labelled", "train"), ("test", "test")):
        assert (np.asarray(splits[ours].pixels) == made[theirs]).all(), ours
    assert dataset.classes == [f"class{i}" for i in range(10)]


def write_imagenet(root: Path) -> None:
    """Two classes as torchvision's unpacked archives have them."""
    samples.folders(root, {"train/n01": 2, "train/n02": 1, "val/n01": 1, "val/n02": 1}, [(9, 7)])
    names = {"n01": ("tench", "Tinca tinca"), "n02": ("goldfish",)}
    torch.save((names, ["n01", "n02"]), root / "meta.bin")


def test_imagenet(tmp_path: Path):
    write_imagenet(tmp_path)
    dataset = datasets.read("imagenet", tmp_path)
    train, test = dataset.splits
    assert train.paths == ["train/n01/0.png", "train/n01/1.png", "train/n02/0.png"]
    assert train.labels.tolist() == [0, 0, 1]
    assert (test.name, test.paths) == ("test", ["val/n01/0.png", "val/n02/0.png"])
    assert test.labels.tolist() == [0, 1]
    assert dataset.classes == ["tench", "goldfish"]


def test_imagenet_without_its_devkit_points_to_imagefolder(tmp_path: Path):
    write_imagenet(tmp_path)
    (tmp_path / "meta.bin").unlink()
    with pytest.raises(DataError, match="imagefolder"):
        datasets.read("imagenet", tmp_path)
