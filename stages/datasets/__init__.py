"""Data sets by name: one file each with a function `read(root)`, nothing to register."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stages.common.errors import DataError
from stages.common.sections import BUNDLED


@dataclass(frozen=True)
class Split:
    """N images with labels; exactly one of `pixels`, `paths` and `encoded` is there."""

    name: str  # train | labelled (for the linear classifier, where not train) | test
    labels: np.ndarray  # (N,) int, -1 = none
    pixels: np.ndarray | None = None  # (N, H, W, 3) uint8
    paths: list[str] | None = None  # of image files, below the data root
    # Yields (name for messages, bytes of an image file), N times, anew at every call.
    encoded: Callable[[], Iterator[tuple[str, bytes]]] | None = None
    origin: str = ""  # the folder or the files that it is from, for messages


@dataclass(frozen=True)
class Dataset:
    splits: list[Split]
    classes: list[str] | None = None  # names, by label
    unlabelled: str | None = None  # which file has no label column, and what it has instead
    others: list[str] = field(default_factory=list)  # files among the images that are none


def read(name: str, root: Path) -> Dataset:
    """The data set `name`, found below `root`.

    Raises:
        DataError: `root`, or what the data set needs in it, is not there.
    """
    if name not in BUNDLED and not root.is_dir():
        raise DataError(
            f"{root}: no such folder; set SEPP_DATA_ROOT to the folder that holds the {name} files"
        )
    return importlib.import_module(f"{__name__}.{name}").read(root)
