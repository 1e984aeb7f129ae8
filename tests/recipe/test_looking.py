"""What is found out of images: of all their number and labels, of some their size and colours."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import datasets
from stages.common.errors import DataError
from stages.datasets._holdout import with_test
from stages.datasets._survey import survey
from stages.recipe import images
from stages.recipe.images import Images, look
from tests.datasets import samples


def save(path: Path, values: np.ndarray, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def found(root: Path, name: str = "imagefolder") -> Images:
    return look(name, datasets.read(name, root), root)


def test_counts_and_sizes(tmp_path):
    counts = {"train/cat": 6, "train/dog": 5, "val/cat": 2, "val/dog": 2}
    samples.folders(tmp_path, counts, [(40, 30), (20, 35), (64, 64)])
    one = found(tmp_path)
    assert (one.train, one.test, one.labelled, one.classes) == (11, 4, 11, 2)
    assert (one.split, one.no_labels, one.evaluable) == (None, False, True)
    assert one.sample.count == 11
    assert one.sample.edges == (20, 64)
    assert one.sample.edge == 30
    assert one.sample.size is None
    assert not one.sample.grey
    assert one.sample.decode > 0


def test_equal_sizes_are_noted(tmp_path):
    samples.folders(tmp_path, {"train/cat": 3, "train/dog": 3}, [(8, 6)])
    sample = found(tmp_path).sample
    assert (sample.size, sample.sure) == ((8, 6), True)


def test_of_many_images_some_are_decoded_and_nobody_is_sure_of_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST", 4)
    samples.folders(tmp_path, {"train/cat": 6, "train/dog": 6}, [(8, 6)])
    one = found(tmp_path)
    assert (one.train, one.sample.count) == (12 - 2, 4)
    assert (one.sample.size, one.sample.sure) == ((8, 6), False)


def test_it_gives_up_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "PATIENCE", 0.0)
    samples.folders(tmp_path, {"train/cat": 6, "train/dog": 6}, [(8, 6)])
    assert found(tmp_path).sample.count == 1


def test_statistics_are_those_of_the_pixels(tmp_path):
    rng = np.random.default_rng(0)
    values = [rng.integers(0, high, (9, 7, 3), dtype=np.uint8) for high in (90, 250)]
    for i, image in enumerate(values):
        save(tmp_path / f"train/c{i}/x.png", image)
    sample = found(tmp_path).sample
    every = np.concatenate([image.reshape(-1, 3) for image in values]) / 255
    assert sample.mean == pytest.approx(every.mean(0), abs=1e-4)
    assert sample.std == pytest.approx(every.std(0), abs=1e-4)


def test_those_of_cifar10():
    folder = os.environ.get("SEPP_TEST_CIFAR")
    if not folder:
        pytest.skip("SEPP_TEST_CIFAR does not name a folder with CIFAR-10 as Parquet")
    one = found(Path(folder), "parquet")
    assert (one.train, one.test, one.classes) == (50_000, 10_000, 10)
    assert one.sample.size == (32, 32)
    assert one.sample.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.015)
    assert one.sample.std == pytest.approx((0.247, 0.2435, 0.2616), abs=0.015)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_grey_is_seen_whatever_the_mode(tmp_path, suffix):
    grey = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
    save(tmp_path / f"train/a/1.{suffix}", grey)
    save(tmp_path / f"train/b/2.{suffix}", np.stack([grey] * 3, 2))
    assert found(tmp_path).sample.grey
    tinted = np.stack([grey, grey // 2, grey], 2)
    save(tmp_path / f"train/b/3.{suffix}", tinted)
    assert not found(tmp_path).sample.grey


def test_a_constant_image_has_a_deviation_to_divide_by(tmp_path):
    save(tmp_path / "train/a/1.png", np.full((8, 8, 3), 77, np.uint8))
    assert min(found(tmp_path).sample.std) > 0


@pytest.mark.parametrize(("each", "share", "held"), [(20, 0.2, 8), (1500, 0.1, 300)])
def test_labels_without_a_test_split_are_divided(each, share, held):
    labels = np.repeat([0, 1], each)
    pixels = np.zeros((2 * each, 4, 4, 3), np.uint8)
    one = look("x", datasets.Dataset([datasets.Split("train", labels, pixels)]), Path())
    assert (one.split, one.test, one.train) == (share, held, 2 * each - held)
    assert one.labelled == one.train


def test_what_has_no_labels_is_not_divided(tmp_path):
    samples.folders(tmp_path, {"train": 9}, [(8, 6)])
    one = found(tmp_path)
    assert (one.split, one.test, one.labelled, one.classes) == (None, 0, 0, 0)
    assert not one.evaluable


def test_partly_labelled_folders(tmp_path):
    samples.folders(tmp_path, {"train/cat": 10, "train/dog": 10, "train/unlabelled": 30}, [(8, 6)])
    one = found(tmp_path)
    assert (one.train, one.test, one.labelled) == (46, 4, 16)
    assert one.evaluable


def test_parquet_without_a_label_column(tmp_path):
    files = [samples.encoded(samples.pixels(i)) for i in range(6)]
    samples.shard(tmp_path / "train.parquet", files, None)
    one = found(tmp_path, "parquet")
    assert one.no_labels
    assert (one.train, one.labelled) == (6, 0)


def test_broken_images_are_counted(tmp_path):
    samples.folders(tmp_path, {"train/cat": 3, "train/dog": 3}, [(8, 6)])
    (tmp_path / "train/cat/x.jpg").write_bytes(samples.truncated_jpeg())
    sample = found(tmp_path).sample
    assert (sample.count, sample.broken) == (6, 1)


def test_what_is_broken_neither_trains_nor_tests(tmp_path):
    samples.folders(tmp_path, {"train/cat": 20, "train/dog": 20}, [(8, 6)])
    for path in sorted((tmp_path / "train/cat").iterdir())[:15]:
        path.write_bytes(samples.truncated_jpeg())
    one = found(tmp_path)
    assert (one.split, one.train + one.test) == (0.2, 25)
    assert one.test < 8  # some of those that are held out are broken
    assert one.labelled == one.train
    assert not one.estimated
    parts = with_test(datasets.read("imagefolder", tmp_path), "imagefolder", 0.2, seed=0)
    left = [len(survey(*part, tmp_path).rows) for part in parts]
    assert left == [one.train, one.test]  # as prepare will have them


def test_of_images_that_were_not_looked_at_as_many_are_expected_to_be_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST", 20)
    samples.folders(tmp_path, {"train": 40}, [(8, 6)])
    for path in sorted((tmp_path / "train").iterdir())[::2]:
        path.write_bytes(samples.truncated_jpeg())
    one = found(tmp_path)
    assert one.estimated
    assert one.train == 2 * one.sample.count
    assert one.train + 2 * one.sample.broken == 40


def test_broken_rows_of_parquet_are_the_right_ones(tmp_path):
    files = [samples.encoded(samples.pixels(i)) for i in range(10)]
    labels = [0, 1] * 4 + [-1, -1]
    samples.shard(tmp_path / "train.parquet", [*files[:8], *[b"none"] * 2], labels)
    one = found(tmp_path, "parquet")
    assert (one.train + one.test, one.sample.broken) == (8, 2)
    assert one.labelled == one.train


@pytest.mark.parametrize(
    ("counts", "test", "unused", "evaluable"),
    [
        ({"train/cat": 9, "train/dog": 9, "test/cat": 3, "test/dog": 3, "test": 5}, 6, 5, True),
        ({"train": 9, "test": 5}, 0, 5, False),
        ({"train/cat": 9, "test/cat": 5}, 0, 5, False),  # one class is no label
        ({"train/cat": 10, "train/dog": 10, "test": 5}, 4, 0, True),  # a split takes their place
    ],
)
def test_test_images_without_a_label_do_not_evaluate(tmp_path, counts, test, unused, evaluable):
    samples.folders(tmp_path, counts, [(8, 6)])
    one = found(tmp_path)
    assert (one.test, one.unused, one.evaluable) == (test, unused, evaluable)
    assert one.kept == one.train + test + unused


def test_test_labels_are_of_no_use_where_no_training_image_has_one(tmp_path):
    files = [samples.encoded(samples.pixels(i)) for i in range(6)]
    samples.shard(tmp_path / "train.parquet", files, None)
    samples.shard(tmp_path / "test.parquet", files, [0, 1] * 3)
    one = found(tmp_path, "parquet")
    assert (one.test, one.unused, one.evaluable) == (0, 6, False)


def test_classes_of_one_image_each_are_not_divided(tmp_path):
    samples.folders(tmp_path, {"train/cat": 1, "train/dog": 1}, [(8, 6)])
    one = found(tmp_path)
    assert (one.split, one.test, one.train) == (None, 0, 2)


def test_if_all_are_broken_it_says_so(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"train/{name}").mkdir(parents=True)
        (tmp_path / f"train/{name}/x.jpg").write_bytes(samples.truncated_jpeg())
    with pytest.raises(DataError, match=r"none of 2 images decodes: .*x\.jpg \(") as caught:
        found(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["digits", "characters"])
def test_bundled_sets(name):
    sample = found(Path("nowhere"), name).sample
    assert sample.grey
    assert sample.sure
    assert sample.decode == 0
