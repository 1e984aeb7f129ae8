"""Tiny data sets in the layouts that users have, made anew by each test that needs one."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

COLOURS = ((200, 30, 40), (20, 180, 60), (50, 60, 220))


def pixels(number: int, size: tuple[int, int] = (8, 6)) -> np.ndarray:
    """(H, W, 3) uint8 noise that is the same for the same `number`; `size` is width, height."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def encoded(values: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def truncated_jpeg() -> bytes:
    whole = encoded(pixels(0, (64, 64)), "JPEG")
    return whole[: len(whole) // 2]


def folders(root: Path, counts: dict[str, int], sizes: Sequence[tuple[int, int]]) -> list[Path]:
    """PNG files `<folder>/<i>.png`, `counts` of them per folder; sizes taken in turn."""
    files = []
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            file = root / folder / f"{i}.png"
            number = len(files)
            file.write_bytes(encoded(pixels(number, sizes[number % len(sizes)])))
            files.append(file)
    return files


def shard(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[int | None] | None,
    column: str = "image",
    label: str = "label",
    names: Sequence[str] | None = None,
) -> None:
    """A Parquet file as the Hugging Face hub has them."""
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)]
    columns = {column: pa.array(values, struct)}
    if labels is not None:
        columns[label] = pa.array(labels, pa.int64())
    table = pa.table(columns)
    if names is not None:
        features = {label: {"names": list(names), "_type": "ClassLabel"}}
        stored = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": stored})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def cifar10(root: Path, monkeypatch: pytest.MonkeyPatch, per_batch: int = 4) -> np.ndarray:
    """The six batch files of CIFAR-10 with few images, and torchvision's checksums to match.

    Returns all images (6 * per_batch, 32, 32, 3); the last batch is the test split, and the label
    of image i is i % 10.
    """
    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    images = np.stack([pixels(i, (32, 32)) for i in range(6 * per_batch)])
    lists: dict[str, list[list[str]]] = {"train_list": [], "test_list": []}
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        rows = np.arange(i * per_batch, (i + 1) * per_batch)
        flat = images[rows].transpose(0, 3, 1, 2).reshape(per_batch, -1)
        batch = {"data": flat, "labels": (rows % 10).tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
        kind = "test_list" if name == "test_batch" else "train_list"
        lists[kind].append([name, md5(folder / name)])
    meta = folder / "batches.meta"
    meta.write_bytes(pickle.dumps({"label_names": [f"class{i}" for i in range(10)]}))
    for kind, files in lists.items():
        monkeypatch.setattr(CIFAR10, kind, files)
    monkeypatch.setattr(
        CIFAR10, "meta", {"filename": meta.name, "key": "label_names", "md5": md5(meta)}
    )
    return images


def stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """STL-10's binary files with 5 unlabelled, 3 training and 2 test images.

    Returns the images (N, 96, 96, 3) by the binary file's first word; labels count from 0 up.
    """
    from torchvision.datasets import STL10

    folder = root / STL10.base_folder
    folder.mkdir(parents=True)
    made = {}
    for name, count, first in (("unlabeled", 5, 0), ("train", 3, 5), ("test", 2, 8)):
        made[name] = np.stack([pixels(first + i, (96, 96)) for i in range(count)])
        # The format is channels first, columns before rows.
        (folder / f"{name}_X.bin").write_bytes(made[name].transpose(0, 3, 2, 1).tobytes())
        if name != "unlabeled":
            labels = np.arange(1, count + 1, dtype=np.uint8)  # on disk they count from one
            (folder / f"{name}_y.bin").write_bytes(labels.tobytes())
    (folder / "class_names.txt").write_text("\n".join(f"class{i}" for i in range(10)) + "\n")
    for kind in ("train_list", "test_list"):
        files = [[name, md5(folder / name)] for name, _ in getattr(STL10, kind)]
        monkeypatch.setattr(STL10, kind, files)
    return made
