"""The images of any folder, or of Parquet files in the layout of the Hugging Face hub."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from stages.common.errors import BrokenImage, DataError
from stages.common.folders import images_in
from stages.common.pixels import decode
from stages.common.unread import by_suffix
from stages.datasets import parquet
from stages.datasets.imagefolder import TESTS, UNLABELLED

log = logging.getLogger(__name__)
SPLITS = ("train", *TESTS)


class Found(NamedTuple):
    path: str  # as it opens from where the command ran; of a row of a Parquet file, file#row
    label: str | None
    source: Path | bytes


class Images:
    """All images of a folder, at any depth, or of Parquet files; iterating reads these in pieces.

    A label is, in a folder, the name of the first folder below it, that of a split (`train`, …)
    not counting; in a Parquet file it is the class's name where the file has names.

    Raises:
        DataError: there is no image, or nothing of that name.
    """

    def __init__(self, where: Path) -> None:
        if not where.exists():
            raise DataError(f"{where}: no such folder or file of images")
        self.where, self.names = where, []
        self.shards = [where] if where.is_file() else []
        if self.shards and where.suffix != ".parquet":
            raise DataError(f"{where}: neither a folder nor a Parquet file of images")
        if where.is_dir():
            self.names, others = images_in(where)
            if not self.names:
                self.shards = [where / name for name in others if name.endswith(".parquet")]
            elif others:
                log.warning("%s: not read, as no images: %s", where, by_suffix(others))
            if not (self.names or self.shards):
                there = f" (only {by_suffix(others)})" if others else ""
                raise DataError(f"{where}: holds no image{there}")
        self.counts = [parquet.open_file(shard).metadata.num_rows for shard in self.shards]
        if not len(self):
            raise DataError(f"{where}: holds no image, but Parquet files without rows")

    def __len__(self) -> int:
        return len(self.names) + sum(self.counts)

    def __iter__(self) -> Iterator[Found]:
        for name in self.names:
            path = self.where / name
            yield Found(_text(path), _label(name), path)
        for shard in self.shards:
            labels, images = _labels(shard), parquet.images([shard])
            for row, (label, (_, content)) in enumerate(zip(labels, images, strict=True)):
                yield Found(f"{_text(shard)}#{row}", label, content)


def open_image(path: str) -> Image.Image:
    """What `Found.path` names. Raises DataError where it is gone, or does not decode."""
    shard, row = _row_of(path)
    if shard is None:
        return decode(Path(path))
    file = parquet.open_file(shard)
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if row < rows:
            found = parquet.images([shard], [group])
            return decode(next(itertools.islice(found, row, None))[1], path)
        row -= rows
    raise BrokenImage(path, "the file has no such row")


def is_there(path: str) -> bool:
    """Whether there is the file of what has such a path."""
    return (_row_of(path)[0] or Path(path)).exists()


def _row_of(path: str) -> tuple[Path | None, int]:
    """The Parquet file and the row that a path names; None where it is that of an image file."""
    shard, _, row = path.rpartition("#")
    if shard.endswith(".parquet") and row.isdecimal() and not Path(path).exists():
        return Path(shard), int(row)
    return None, 0


def _text(path: Path) -> str:
    try:
        return str(path).encode().decode()
    except UnicodeEncodeError:
        raise DataError(f"the file name {str(path)!r} is not UTF-8; rename it") from None


def _label(name: str) -> str | None:
    folders = name.split("/")[:-1]
    if folders and folders[0] in SPLITS:
        folders = folders[1:]
    return folders[0] if folders and folders[0] not in UNLABELLED else None


def _labels(shard: Path) -> list[str | None]:
    """As text, of each row; None for -1, which is no label, and for nulls."""
    file = parquet.open_file(shard)
    name = parquet.column_name(file, parquet.LABELS)
    if name is None:
        return [None] * file.metadata.num_rows
    names = dict(enumerate(parquet.class_names(file) or ()))
    with parquet.reading(shard):
        found = file.read(columns=[name]).column(name).to_pylist()
    return [None if label in (None, -1) else str(names.get(label, label)) for label in found]
