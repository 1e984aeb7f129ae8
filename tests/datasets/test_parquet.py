"""Parquet files in the layout of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import datasets
from stages.common.errors import DataError
from tests.datasets import samples

IMAGES = [samples.encoded(samples.pixels(i)) for i in range(7)]


def read(root: Path) -> dict[str, datasets.Split]:
    return {split.name: split for split in datasets.read("parquet", root).splits}


def contents(split: datasets.Split) -> list[bytes]:
    return [content for _, content in split.encoded()]


@pytest.mark.parametrize("column", ["img", "image"])
@pytest.mark.parametrize("label", ["label", "labels"])
def test_shards_are_read_in_the_order_of_their_names(tmp_path: Path, column: str, label: str):
    columns = {"column": column, "label": label}
    samples.shard(tmp_path / "train-00001-of-00002.parquet", IMAGES[4:6], [1, 0], **columns)
    samples.shard(tmp_path / "train-00000-of-00002.parquet", IMAGES[:4], [0, 1, 2, 1], **columns)
    samples.shard(tmp_path / "test-00000-of-00001.parquet", IMAGES[6:], [2], **columns)
    splits = read(tmp_path)
    assert contents(splits["train"]) == IMAGES[:6]
    assert contents(splits["train"]) == IMAGES[:6], "an iteration starts anew"
    assert splits["train"].labels.tolist() == [0, 1, 2, 1, 1, 0]
    assert contents(splits["test"]) == IMAGES[6:]


def test_a_message_can_name_file_and_row(tmp_path: Path):
    samples.shard(tmp_path / "train.parquet", IMAGES[:5], [0] * 5)
    where = [name for name, _ in read(tmp_path)["train"].encoded()]
    assert where[4] == f"{tmp_path / 'train.parquet'} row 4"


def test_files_may_lie_in_a_folder_data(tmp_path: Path):
    samples.shard(tmp_path / "data/train-00000-of-00001.parquet", IMAGES[:2], [0, 1])
    samples.shard(tmp_path / "data/validation-00000-of-00001.parquet", IMAGES[2:3], [1])
    splits = read(tmp_path)
    assert contents(splits["train"]) == IMAGES[:2]
    assert contents(splits["test"]) == IMAGES[2:3]


def test_images_may_be_plain_bytes(tmp_path: Path):
    pq.write_table(pa.table({"image": pa.array(IMAGES[:2])}), tmp_path / "train.parquet")
    assert contents(read(tmp_path)["train"]) == IMAGES[:2]


def test_without_a_label_column_it_stops_unless_that_is_meant(bench):
    for name in ("train-0", "train-1", "test-0"):
        samples.shard(bench.root / f"{name}.parquet", IMAGES[:3], [0, 1, 2], label="fine_label")
    with pytest.raises(DataError) as error:
        bench.run("parquet")
    assert str(error.value) == (
        f"{bench.root}/train-0.parquet: has no column called label or labels, only image, "
        "fine_label; rename it, or set data.unlabelled: true to do without"
    )
    assert not bench.manifest.exists()
    store = bench.run("parquet", unlabelled=True)
    assert store.labels.tolist() == [-1] * 9


def test_a_null_label_is_none(tmp_path: Path):
    samples.shard(tmp_path / "train.parquet", IMAGES[:3], [1, None, 0])
    assert read(tmp_path)["train"].labels.tolist() == [1, -1, 0]


def test_class_names_come_from_the_schema(tmp_path: Path):
    samples.shard(tmp_path / "train.parquet", IMAGES[:2], [0, 1], names=["cat", "dog"])
    assert datasets.read("parquet", tmp_path).classes == ["cat", "dog"]
    samples.shard(tmp_path / "train.parquet", IMAGES[:2], [0, 1])
    assert datasets.read("parquet", tmp_path).classes is None


def test_without_an_image_column_the_columns_are_named(tmp_path: Path):
    samples.shard(tmp_path / "train.parquet", IMAGES[:2], [0, 1], column="picture")
    with pytest.raises(DataError, match=r"train\.parquet.*image.*picture, label"):
        contents(read(tmp_path)["train"])


def test_labels_in_words_are_refused(tmp_path: Path):
    table = pa.table({"image": pa.array(IMAGES[:2]), "label": ["cat", "dog"]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"train\.parquet.*'label' is string"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("values", "kind"), [("cat.png", "string"), ({"path": "cat.png"}, "struct<path: string>")]
)
def test_images_without_bytes_are_refused(tmp_path: Path, values: object, kind: str):
    pq.write_table(pa.table({"image": [values], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(DataError, match=rf"train\.parquet: column 'image' is {kind};"):
        contents(read(tmp_path)["train"])


@pytest.mark.parametrize("label", [-5, 2**31, 2**40])
def test_labels_out_of_range_are_refused(tmp_path: Path, label: int):
    samples.shard(tmp_path / "train.parquet", IMAGES[:2], [0, label])
    with pytest.raises(DataError, match=rf"train\.parquet: column 'label' .*{label}"):
        read(tmp_path)


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_damaged_page_is_named(tmp_path: Path, column: str):
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"image": IMAGES, "label": [0] * 7}), path)
    group = pq.read_metadata(path).row_group(0)
    (chunk,) = (c for i in range(2) if (c := group.column(i)).path_in_schema == column)
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset
    data[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"train\.parquet: does not read as Parquet") as error:
        contents(read(tmp_path)["train"])
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path):
    (tmp_path / "train.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DataError, match=r"train\.parquet") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int8(), pa.uint16(), pa.int32()])
def test_labels_may_be_integers_of_any_width(tmp_path: Path, kind: pa.DataType):
    labels = pa.array([1, None, 0], kind)
    table = pa.table({"image": pa.array(IMAGES[:3]), "label": labels})
    pq.write_table(table, tmp_path / "train.parquet")
    assert read(tmp_path)["train"].labels.tolist() == [1, -1, 0]


def test_labels_that_are_all_null(tmp_path: Path):
    samples.shard(tmp_path / "train.parquet", IMAGES[:3], [None] * 3, names=["cat", "dog"])
    assert read(tmp_path)["train"].labels.tolist() == [-1, -1, -1]


def test_a_file_called_test_goes_before_validation(tmp_path: Path):
    samples.shard(tmp_path / "train.parquet", IMAGES[:1], [0])
    samples.shard(tmp_path / "validation.parquet", IMAGES[1:2], [0])
    assert contents(read(tmp_path)["test"]) == IMAGES[1:2]
    samples.shard(tmp_path / "test.parquet", IMAGES[2:3], [0])
    assert contents(read(tmp_path)["test"]) == IMAGES[2:3]


def test_a_test_split_with_secret_labels_gives_way_to_validation(tmp_path: Path):
    samples.shard(tmp_path / "train.parquet", IMAGES[:2], [0, 1])
    samples.shard(tmp_path / "test.parquet", IMAGES[2:3], [-1])
    assert read(tmp_path)["test"].labels.tolist() == [-1]
    samples.shard(tmp_path / "validation.parquet", IMAGES[3:5], [1, 0])
    assert read(tmp_path)["test"].labels.tolist() == [1, 0]
    assert contents(read(tmp_path)["test"]) == IMAGES[3:5]


def test_without_train_files_the_remedy_is_named(tmp_path: Path):
    samples.shard(tmp_path / "test.parquet", IMAGES[:1], [0])
    with pytest.raises(DataError, match=r"train\*\.parquet.*SEPP_DATA_ROOT"):
        read(tmp_path)
