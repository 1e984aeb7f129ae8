"""What imagefolder and imagenet share: a class is a folder, and its label its place by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.common.errors import DataError
from stages.datasets import Split


def split_of(name: str, samples: list[tuple[str, int]], root: Path) -> Split:
    """torchvision's (path, label) of each image, below `root` and without hidden files.

    Raises:
        DataError: a name is not UTF-8, so that no manifest can hold it.
    """
    below = [(path.removeprefix(f"{root}/"), label) for path, label in samples]
    # Nor does source list hidden files, such as the ._x.png of macOS, which are no images.
    kept = [(path, label) for path, label in below if "/." not in path]
    paths = [path for path, _ in kept]
    for path in paths:
        if path != path.encode(errors="replace").decode():
            raise DataError(f"{root}: the file name {path!r} is not UTF-8; rename it")
    return Split(name, np.array([label for _, label in kept], dtype=np.int64), paths=paths)


def check_classes(train: list[str], test: list[str], folder: Path, remedy: str) -> None:
    """Raises DataError where a class is in one split only: the labels after it would shift."""
    odd = sorted(set(train) ^ set(test))
    if odd:
        some = ", ".join(odd[:5]) + ", …" * (len(odd) > 5)
        raise DataError(f"{folder}: differs from train/ in {len(odd)} classes ({some}); {remedy}")
