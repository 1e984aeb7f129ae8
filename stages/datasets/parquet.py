"""Parquet files in the layout of the Hugging Face hub: an image column and a label column.

The split is in the file name (`train-00000-of-00001.parquet`, `test-…` or `validation-…`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.common.errors import DataError
from stages.datasets import Dataset, Split

IMAGES, LABELS = ("image", "img"), ("label", "labels")
TESTS = ("test", "validation", "val")  # the first that has labels, or else the first
BLOCK = 256  # rows held in memory at a time


def read(root: Path) -> Dataset:
    """Raises DataError without train files, or where labels or images are of another type."""
    files = sorted(f for folder in (root, root / "data") for f in folder.glob("*.parquet"))
    shards = {name: found for name in ("train", *TESTS) if (found := _named(files, name))}
    if "train" not in shards:
        raise DataError(
            f"{root}: holds no train*.parquet (nor in its data/); "
            "set SEPP_DATA_ROOT to the folder of the Parquet files"
        )
    first = open_file(shards["train"][0])
    labels = {name: _labels(paths) for name, paths in shards.items()}
    tests = [name for name in TESTS if name in shards]
    # The hub's ImageNet has a test split whose labels are secret, and given as -1.
    tests.sort(key=lambda name: (labels[name] < 0).all())
    splits = [
        Split(
            *(ours, labels[name]),
            encoded=partial(images, shards[name]),
            origin=", ".join(path.name for path in shards[name][:3]),
        )
        for ours, name in zip(("train", "test"), ["train", *tests[:1]], strict=False)
    ]
    return Dataset(splits, class_names(first), _unlabelled(shards))


def _named(files: list[Path], split: str) -> list[Path]:
    return [f for f in files if split in f.stem.replace(".", "-").replace("_", "-").split("-")]


def open_file(path: Path) -> pq.ParquetFile:
    with reading(path):
        return pq.ParquetFile(path, memory_map=True)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises DataError for what pyarrow raises on a damaged file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: does not read as Parquet ({reason}); fetch it again") from None


def column_name(file: pq.ParquetFile, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in file.schema_arrow.names), None)


def _labels(paths: list[Path]) -> np.ndarray:
    """(N,) int64; -1 for all rows of a file that has no label column, and for nulls."""
    parts = []
    for path in paths:
        file = open_file(path)
        name = column_name(file, LABELS)
        if name is None:
            parts.append(np.full(file.metadata.num_rows, -1))
            continue
        with reading(path):
            column = file.read(columns=[name]).column(name)
        if not pa.types.is_integer(column.type):
            raise DataError(f"{path}: column {name!r} is {column.type}; labels need to be integers")
        # Widened first: an unsigned type, as converters write it, cannot hold the -1.
        labels = column.cast(pa.int64(), safe=False).fill_null(-1).to_numpy()
        low, high = labels.min(initial=0), labels.max(initial=0)
        if low < -1 or high >= 2**31:  # the manifest's type would wrap them
            raise DataError(
                f"{path}: column {name!r} goes from {low} to {high}; "
                "labels need to count from 0, and -1 is none"
            )
        parts.append(labels)
    return np.concatenate(parts)


def _unlabelled(shards: dict[str, list[Path]]) -> str | None:
    for path in (path for paths in shards.values() for path in paths):
        file = open_file(path)
        if column_name(file, LABELS) is None:
            columns = ", ".join(file.schema_arrow.names)
            return f"{path}: has no column called {' or '.join(LABELS)}, only {columns}"
    return None


def images(paths: list[Path], row_groups: list[int] | None = None) -> Iterator[tuple[str, bytes]]:
    """(name for messages, encoded image) of all rows, or of those in some row groups of each file.

    Raises DataError where there is no column of images.
    """
    for path in paths:
        file = open_file(path)
        name = column_name(file, IMAGES)
        if name is None:
            raise DataError(
                f"{path}: has no image column; it needs one called {' or '.join(IMAGES)}, "
                f"and has {', '.join(file.schema_arrow.names)}"
            )
        kind = file.schema_arrow.field(name).type
        nested = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        values = kind.field("bytes").type if nested else kind
        if not (pa.types.is_binary(values) or pa.types.is_large_binary(values)):
            raise DataError(
                f"{path}: column {name!r} is {kind}; images need to be binary or "
                "struct<bytes: binary>"
            )
        row = 0
        with reading(path):
            for batch in file.iter_batches(BLOCK, row_groups, columns=[name]):
                for value in batch.column(0).field("bytes") if nested else batch.column(0):
                    yield f"{path} row {row}", value.as_py() or b""
                    row += 1


def class_names(file: pq.ParquetFile) -> list[str] | None:
    """Names that the hub's `datasets` library stored in the schema, if it did."""
    stored = (file.schema_arrow.metadata or {}).get(b"huggingface")
    if stored is None:
        return None
    features = json.loads(stored).get("info", {}).get("features", {})
    return next((features[n].get("names") for n in LABELS if n in features), None)
