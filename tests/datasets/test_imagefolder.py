"""A user's own images in class folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stages import datasets
from stages.common.errors import BrokenImages, DataError
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


def test_images_beside_the_classes_have_no_label(tmp_path: Path):
    """As have those in unlabelled/. They come last, so that the others keep their ids."""
    counts = {"train": 1, "train/cat": 1, "train/unlabelled/walk": 1, "train/zebra": 1}
    samples.folders(tmp_path, counts | {"val/cat": 1, "val/zebra": 1, "val": 1}, SIZE)
    dataset = datasets.read("imagefolder", tmp_path)
    train, test = dataset.splits
    assert dataset.classes == ["cat", "zebra"]
    assert train.paths == [
        *("train/cat/0.png", "train/zebra/0.png"),
        *("train/0.png", "train/unlabelled/walk/0.png"),
    ]
    assert train.labels.tolist() == [0, 1, -1, -1]
    assert test.labels.tolist() == [0, 1, -1]


def test_a_flat_folder_has_no_labels(tmp_path: Path):
    samples.folders(tmp_path, {"train": 2, "test": 1}, SIZE)
    dataset = datasets.read("imagefolder", tmp_path)
    assert dataset.classes is None
    assert [split.paths for split in dataset.splits] == [
        ["train/0.png", "train/1.png"],
        ["test/0.png"],
    ]
    assert [split.labels.tolist() for split in dataset.splits] == [[-1, -1], [-1]]


@pytest.mark.parametrize(
    ("counts", "paths", "labels"),
    [
        ({".": 2}, ["0.png", "1.png"], [-1, -1]),
        ({"cat": 1, "dog": 1, ".": 1}, ["cat/0.png", "dog/0.png", "0.png"], [0, 1, -1]),
    ],
)
def test_without_a_folder_train_everything_trains(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, counts, paths, labels
):
    samples.folders(tmp_path, counts, SIZE)
    caplog.set_level("INFO")
    (split,) = datasets.read("imagefolder", tmp_path).splits
    assert (split.name, split.paths, split.labels.tolist()) == ("train", paths, labels)
    assert f"{tmp_path}: has no train/" in caplog.text


@pytest.mark.parametrize("folder", ["test", "val", "Train", "validation"])
def test_the_folders_of_a_split_are_not_taken_for_classes(tmp_path: Path, folder: str):
    samples.folders(tmp_path, {f"{folder}/cat": 1, f"{folder}/dog": 1, "more/cat": 1}, SIZE)
    with pytest.raises(DataError, match=rf"holds {folder}/, but no train/"):
        datasets.read("imagefolder", tmp_path)


def test_folders_beside_the_splits_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    samples.folders(tmp_path, {"train/cat": 1, "val/cat": 1, "test/cat": 1, "extra": 1}, SIZE)
    datasets.read("imagefolder", tmp_path)
    assert "extra/, val/: not read" in caplog.text


def test_files_that_are_no_images_are_counted_and_listed(bench, caplog: pytest.LogCaptureFixture):
    """Nothing vanishes: what is not an image is on the log, and all of it in a file."""
    samples.folders(bench.root, {"train": 1, "train/cat/more": 2, "train/dog": 1}, SIZE)
    names = ["train/cat/Thumbs.db", *(f"train/dog/{i}.txt" for i in range(3)), "train/LICENSE"]
    names += ["train/cat/more/odd, and \udcff.mp4"]
    for name in names:
        (bench.root / name).write_text("a text")
    os.mkfifo(bench.root / "train/cat/pipe.jpg")  # opening it would wait for ever
    store = bench.run("imagefolder")
    assert len(store.ids) == 4
    rows = bench.unread_rows()
    expected = {str(bench.root / name) for name in [*names, "train/cat/pipe.jpg"]}
    assert {name for name, _ in rows} == expected
    assert {reason for _, reason in rows} == {"not an image"}
    assert "no images: 7 (3 .txt, 1 without suffix, 1 .db, 1 .jpg, 1 .mp4), such as" in caplog.text


def test_links_that_lead_nowhere_are_broken_images(bench):
    samples.folders(bench.root, {"train/cat": 1, "train/dog": 1}, SIZE)
    for name, target in (("gone.png", "absent"), ("without", "absent"), ("self", "self")):
        (bench.root / "train/cat" / name).symlink_to(target)
    (bench.root / "train/dog/again").symlink_to(bench.root / "train")  # a circle, and no image
    with pytest.raises(BrokenImages, match=r"^3 images do not decode.*No such file"):
        bench.run("imagefolder")
    assert [Path(name).name for name, _ in bench.unread_rows()] == ["gone.png", "self", "without"]


def test_a_class_of_other_files_alone_says_so(tmp_path: Path):
    samples.folders(tmp_path, {"train/cat": 1, "train/dog": 0}, SIZE)
    for i in range(2):
        (tmp_path / f"train/dog/{i}.nef").write_bytes(b"II*")
    with pytest.raises(
        DataError,
        match=r"train/dog: holds no image \(only 2 \.nef\); fill or remove it: every class",
    ):
        datasets.read("imagefolder", tmp_path)


def test_images_have_many_suffixes_or_none(tmp_path: Path):
    files = samples.folders(tmp_path, {"train/cat": 4, "train/dog": 1}, SIZE)
    for file, name in zip(files, ("a.HEIC", "b.gif", "c", "d.2024"), strict=False):
        file.rename(file.with_name(name))
    (split,) = datasets.read("imagefolder", tmp_path).splits
    assert split.paths[:4] == [f"train/cat/{name}" for name in ("a.HEIC", "b.gif", "c", "d.2024")]


def test_the_order_is_torchvisions(tmp_path: Path):
    """So that ids, and all that is drawn by them, are what they were."""
    from torchvision.datasets import ImageFolder

    counts = {"b-b": 1, "a": 2, "a/b": 1, "a/b/c": 2, "a/b-b": 1, "a/B": 1, "b": 12}
    samples.folders(tmp_path, {f"train/{name}": count for name, count in counts.items()}, SIZE)
    (split,) = datasets.read("imagefolder", tmp_path).splits
    expected = ImageFolder(str(tmp_path / "train")).samples
    found = [str(tmp_path / path) for path in split.paths]
    assert list(zip(found, split.labels.tolist(), strict=True)) == expected


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    samples.folders(tmp_path, {"train/cat/shut": 1, "train/dog": 1}, SIZE)
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"train/cat/shut: cannot be listed \(Permission denied\)"):
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
