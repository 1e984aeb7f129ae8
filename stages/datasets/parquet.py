"""Parquet files in the layout of the Hugging Face hub: an image column and a label column.

The split is in the file name (`train-00000-of-00001.parquet`, `test-…` or `validation-…`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.common.errors import DataError
from stages.datasets import Dataset, Split

IMAGES, LABELS = ("image", "img"), ("label", "labels")
TESTS = ("test", "validation", "val")  # the first that has files
BLOCK = 256  # rows held in memory at a time


def read(root: Path) -> Dataset:
    """Raises DataError without train files, or where a file has no image column."""
    files = sorted(f for folder in (root, root / "data") for f in folder.glob("*.parquet"))
    shards = {"train": _named(files, "train")}
    test = next((found for name in TESTS if (found := _named(files, name))), [])
    shards |= {"test": test} if test else {}
    if not shards["train"]:
        raise DataError(
            f"{root}: holds no train*.parquet (nor in its data/); "
            "set SEPP_DATA_ROOT to the folder of the Parquet files"
        )
    splits = [
        Split(name, _labels(paths), encoded=lambda paths=paths: _images(paths))
        for name, paths in shards.items()
    ]
    return Dataset(splits, _classes(shards["train"][0]))


def _named(files: list[Path], split: str) -> list[Path]:
    return [f for f in files if split in f.stem.replace(".", "-").replace("_", "-").split("-")]


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: does not read as Parquet ({error}); fetch it again") from None


def _column(file: pq.ParquetFile, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in file.schema_arrow.names), None)


def _labels(paths: list[Path]) -> np.ndarray:
    """(N,) int64; -1 for all rows of a file that has no label column, and for nulls."""
    parts = []
    for path in paths:
        file = _open(path)
        name = _column(file, LABELS)
        if name is None:
            parts.append(np.full(file.metadata.num_rows, -1))
            continue
        column = file.read(columns=[name]).column(name)
        if not pa.types.is_integer(column.type):
            raise DataError(f"{path}: column {name!r} is {column.type}; labels need to be integers")
        # Widened first: an unsigned type, as converters write it, cannot hold the -1.
        parts.append(column.cast(pa.int64()).fill_null(-1).to_numpy())
    return np.concatenate(parts)


def _images(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        file = _open(path)
        name = _column(file, IMAGES)
        if name is None:
            raise DataError(
                f"{path}: has no image column; it needs one called {' or '.join(IMAGES)}, "
                f"and has {', '.join(file.schema_arrow.names)}"
            )
        row = 0
        for batch in file.iter_batches(BLOCK, columns=[name]):
            column = batch.column(0)
            if pa.types.is_struct(column.type):
                column = column.field("bytes")
            for value in column:
                yield f"{path} row {row}", value.as_py() or b""
                row += 1


def _classes(path: Path) -> list[str] | None:
    """Names that the hub's `datasets` library stored in the schema, if it did."""
    stored = (_open(path).schema_arrow.metadata or {}).get(b"huggingface")
    if stored is None:
        return None
    features = json.loads(stored).get("info", {}).get("features", {})
    return next((features[n].get("names") for n in LABELS if n in features), None)
