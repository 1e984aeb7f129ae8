"""Pairs sorted, however many they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from stages.common.pairs import Pairs, join

RECORD = np.dtype([("anchor", "<i8"), ("positive", "<i8"), ("similarity", "<f4")])
BUCKETS = 64  # files, each of a range of anchors
PART = 2**20  # pairs that are read at a time, at most


def sort_pairs(
    blocks: Iterable[Pairs], rows: int, memory: int, scratch: Path | None = None
) -> Iterator[Pairs]:
    """The pairs of `rows` rows, which come in any order, sorted and each once, in blocks.

    Those that `memory` bytes do not hold lie in files in `scratch` (else in the system's temporary
    folder) until then, 20 bytes each, and 40 while a file is split that alone is too large. Sorting
    takes up to five times `memory`, beside one block, or what the pairs of one anchor need.
    """
    with tempfile.TemporaryDirectory(prefix="pairs-", dir=scratch) as folder:
        yield from _sorted(blocks, range(rows), rows, memory, Path(folder))


def _sorted(
    blocks: Iterable[Pairs], anchors: range, rows: int, memory: int, folder: Path
) -> Iterator[Pairs]:
    """Those in `blocks`, all of whose anchors are in `anchors`: a bucket sort, on the disk."""
    held: list[Pairs] = []
    size, most = 0, memory // RECORD.itemsize
    width = -(-len(anchors) // BUCKETS)
    for pairs in blocks:
        held.append(pairs)
        size += len(pairs.anchor)
        if size > most and len(anchors) > 1:
            _spill(held, anchors.start, width, folder)
            size = 0
    if not any(folder.iterdir()):
        pairs = join(held)
        held.clear()
        _, once = np.unique(pairs.anchor * rows + pairs.positive, return_index=True)
        if len(once):
            yield pairs.take(once)
        return
    _spill(held, anchors.start, width, folder)
    for start in anchors[::width]:
        file = folder / f"{start}"
        if file.exists():
            inner = folder / f"from-{start}"
            inner.mkdir()
            found = _read(file, min(PART, most))
            yield from _sorted(found, range(start, start + width), rows, memory, inner)


def _spill(held: list[Pairs], first: int, width: int, folder: Path) -> None:
    """Append pairs to the files of the buckets of their anchors."""
    pairs = join(held)
    held.clear()
    records = np.empty(len(pairs.anchor), RECORD)
    for name, column in zip(RECORD.names, pairs, strict=True):
        records[name] = column
    bucket = (pairs.anchor - first) // width
    records = records[np.argsort(bucket, kind="stable")]
    stop = np.cumsum(np.bincount(bucket, minlength=BUCKETS))
    for number, part in enumerate(np.split(records, stop[:-1])):
        if len(part):
            with (folder / f"{first + number * width}").open("ab") as file:
                file.write(part)


def _read(path: Path, count: int) -> Iterator[Pairs]:
    """What is in a file, `count` pairs at a time; afterwards it is gone."""
    with path.open("rb") as file:
        while data := file.read(max(1, count) * RECORD.itemsize):
            records = np.frombuffer(data, RECORD)
            yield Pairs(*(records[name].copy() for name in RECORD.names))
    path.unlink()
