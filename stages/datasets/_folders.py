"""What imagefolder and imagenet share: a class is a folder, and its label its place by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.common.errors import DataError
from stages.datasets import Split


def split_of(name: str, samples: list[tuple[str, int]], root: Path, origin: str) -> Split:
    """(path below `root`, label) of each image; `origin` is the folder that they are from.

    Raises:
        DataError: a name is not UTF-8, so that no manifest can hold it.
    """
    paths = [path for path, _ in samples]
    for path in paths:
        if path != path.encode(errors="replace").decode():
            raise DataError(f"{root}: the file name {path!r} is not UTF-8; rename it")
    labels = np.array([label for _, label in samples], dtype=np.int64)
    return Split(name, labels, paths=paths, origin=origin)


def check_classes(train: list[str], test: list[str], folder: Path, remedy: str) -> None:
    """Raises DataError where a class is in one split only: the labels after it would shift."""
    odd = sorted(set(train) ^ set(test))
    if odd:
        some = ", ".join(odd[:5]) + ", …" * (len(odd) > 5)
        raise DataError(f"{folder}: differs from train/ in {len(odd)} classes ({some}); {remedy}")
