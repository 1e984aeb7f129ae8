"""A user's own images in class folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stages import datasets
from stages.common.errors import DataError
from tests.datasets import samples

SIZE = [(8, 6)]


@pytest.mark.parametrize("evaluation", ["val", "test"])
def test_paths_and_labels(tmp_path: Path, evaluation: str):
    samples.folders(
        tmp_path,
        {"train/cat": 2, "train/dog": 1, f"{evaluation}/cat": 1, f"{evaluation}/dog": 1},
        SIZE,
    )
    dataset = datasets.read("imagefolder", tmp_path)
    train, test = dataset.splits
    assert dataset.classes == ["cat", "dog"]
    assert train.paths == ["train/cat/0.png", "train/cat/1.png", "train/dog/0.png"]
    assert train.labels.tolist() == [0, 0, 1]
    assert test.name == "test"
    assert test.paths == [f"{evaluation}/cat/0.png", f"{evaluation}/dog/0.png"]


def test_images_to_evaluate_are_optional(tmp_path: Path):
    samples.folders(tmp_path, {"train/cat": 2}, SIZE)
    assert [split.name for split in datasets.read("imagefolder", tmp_path).splits] == ["train"]


def test_an_empty_class_folder_is_named(tmp_path: Path):
    samples.folders(tmp_path, {"train/cat": 2, "train/dog": 0}, SIZE)
    with pytest.raises(DataError, match="dog") as error:
        datasets.read("imagefolder", tmp_path)
    assert str(tmp_path / "train") in str(error.value)
    assert "\n" not in str(error.value)


def test_classes_must_agree_between_the_splits(tmp_path: Path):
    samples.folders(tmp_path, {"train/cat": 1, "train/dog": 1, "val/cat": 1, "val/fox": 1}, SIZE)
    with pytest.raises(DataError, match="dog, fox"):
        datasets.read("imagefolder", tmp_path)


def test_images_outside_of_class_folders_are_explained(tmp_path: Path):
    samples.folders(tmp_path, {"train": 2}, SIZE)
    with pytest.raises(DataError, match="class folder"):
        datasets.read("imagefolder", tmp_path)


def test_a_folder_called_test_goes_before_val(tmp_path: Path):
    samples.folders(tmp_path, {"train/cat": 1, "val/cat": 1, "test/cat": 2}, SIZE)
    assert datasets.read("imagefolder", tmp_path).splits[1].paths == [
        "test/cat/0.png",
        "test/cat/1.png",
    ]


def test_images_may_lie_deeper_in_their_class(tmp_path: Path):
    samples.folders(tmp_path, {"train/cat/tabby": 1, "train/cat": 1, "train/dog": 1}, SIZE)
    (train,) = datasets.read("imagefolder", tmp_path).splits
    assert sorted(train.paths) == ["train/cat/0.png", "train/cat/tabby/0.png", "train/dog/0.png"]
    assert train.labels.tolist() == [0, 0, 1]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path):
    """source does not list them, so that their changes would go unnoticed."""
    root = tmp_path / ".hidden"  # above the data root it does not matter
    some = {"train/cat": 2, "train/dog": 1, "train/cat/.cache": 1, "train/.cache": 1}
    samples.folders(root, some, SIZE)
    (root / "train/cat/0.png").rename(root / "train/cat/._0.png")
    dataset = datasets.read("imagefolder", root)
    assert dataset.classes == ["cat", "dog"]
    assert dataset.splits[0].paths == ["train/cat/1.png", "train/dog/0.png"]
    assert dataset.splits[0].labels.tolist() == [0, 1]


def test_a_single_class_is_no_label(tmp_path: Path):
    samples.folders(tmp_path, {"train/everything": 3}, SIZE)
    dataset = datasets.read("imagefolder", tmp_path)
    assert dataset.classes is None
    assert dataset.splits[0].labels.tolist() == [-1, -1, -1]


def test_a_test_folder_without_classes_gives_way_to_val(tmp_path: Path):
    samples.folders(tmp_path, {"train/cat": 1, "val/cat": 1, "test": 2}, SIZE)
    assert datasets.read("imagefolder", tmp_path).splits[1].paths == ["val/cat/0.png"]


def test_a_name_that_is_not_utf8_is_shown(tmp_path: Path):
    (file,) = samples.folders(tmp_path, {"train/cat": 1}, SIZE)
    file.rename(os.fsdecode(os.fsencode(file.parent) + b"/\xff.png"))
    with pytest.raises(DataError, match=r"train/cat/.*udcff\.png' is not UTF-8") as error:
        datasets.read("imagefolder", tmp_path)
    str(error.value).encode()
