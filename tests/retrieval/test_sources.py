"""Images of any folder and of Parquet files, their names and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stages.common.errors import DataError
from stages.common.pixels import decode
from stages.retrieval.images import Images, is_there, open_image
from tests.retrieval.photos import picture, write_parquet, write_photos

NAMES = ["a.png", "cats/b.png", "cats/old/c.png", "train/dogs/d.png", "test/e.png"]
LABELS = [None, "cats", "cats", "dogs", None]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_folder_at_any_depth(caplog):
    write_photos(Path("photos"), [*NAMES, "unlabelled/f.png", ".hidden/g.png"])
    Path("photos/notes.txt").write_text("words")
    images = Images(Path("photos"))
    assert len(images) == 6
    found = {one.path: one.label for one in images}
    expected = dict(zip(NAMES, LABELS, strict=True)) | {"unlabelled/f.png": None}
    assert found == {f"photos/{name}": label for name, label in expected.items()}
    assert list(found) == [one.path for one in images]  # again, in the same order
    assert "1 .txt" in caplog.text
    for one in images:
        assert decode(one.source) == open_image(one.path)


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        ([0, 1, -1, None, 1], ["cat", "dog"], ["cat", "dog", None, None, "dog"]),
        ([0, 1, -1, None, 7], None, ["0", "1", None, None, "7"]),
        (["cat", None, "dog", "cat", "cat"], None, ["cat", None, "dog", "cat", "cat"]),
    ],
)
def test_parquet_files(labels, names, expected):
    write_parquet(Path("data/one.parquet"), pa.array(labels), names)
    for where in (Path("data"), Path("data/one.parquet")):
        found = list(Images(where))
        assert [one.path for one in found] == [f"data/one.parquet#{row}" for row in range(5)]
        assert [one.label for one in found] == expected
    for seed, one in enumerate(found):
        assert np.array_equal(open_image(one.path), picture(seed))


def test_a_file_without_labels_and_several_files():
    write_parquet(Path("data/b.parquet"), pa.nulls(2))
    write_parquet(Path("data/a.parquet"), pa.array([1]))
    images = Images(Path("data"))
    assert len(images) == 3
    paths = ["data/a.parquet#0", "data/b.parquet#0", "data/b.parquet#1"]
    assert [one.path for one in images] == paths


def test_what_is_there():
    write_parquet(Path("one.parquet"), pa.array([1, 1]))
    write_photos(Path(), ["odd.parquet#7"])
    assert is_there("one.parquet#1")
    assert not is_there("none.parquet#1")
    assert np.array_equal(open_image("odd.parquet#7"), picture(0))
    for row in (2, 99):
        with pytest.raises(DataError, match=f"one.parquet#{row}: .*no such row"):
            open_image(f"one.parquet#{row}")


def empty():
    Path("photos").mkdir()
    Path("photos/notes.txt").write_text("words")


def no_images():
    import pyarrow.parquet as pq

    Path("photos").mkdir()
    pq.write_table(pa.table({"text": ["a"]}), "photos/a.parquet")


def damaged():
    Path("photos").mkdir()
    Path("photos/a.parquet").write_text("words")


def rowless():
    write_parquet(Path("photos/a.parquet"), pa.array([], pa.int64()))


@pytest.mark.parametrize(
    ("prepare", "where", "said"),
    [
        (lambda: None, "photos", "photos: no such folder or file"),
        (empty, "photos", r"photos: holds no image \(only 1 \.txt\)"),
        (empty, "photos/notes.txt", "neither a folder nor a Parquet file"),
        (no_images, "photos", r"photos/a\.parquet: has no image column"),
        (damaged, "photos", r"photos/a\.parquet: does not read as Parquet"),
        (rowless, "photos", "without rows"),
    ],
)
def test_what_has_no_images_is_refused(prepare, where, said):
    prepare()
    with pytest.raises(DataError, match=said):
        list(Images(Path(where)))
