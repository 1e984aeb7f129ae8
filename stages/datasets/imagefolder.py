"""Your own images: train/ and, to evaluate, test/ or val/, each a folder per class."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages.common.errors import DataError
from stages.datasets import Dataset
from stages.datasets._folders import check_classes, split_of

LAYOUT = "every class is a folder of images below train/, and below test/ or val/ to evaluate"


def read(root: Path) -> Dataset:
    """As torchvision's ImageFolder, but without hidden files and folders.

    Raises:
        DataError: train/ is missing, a class folder is empty, or the classes differ.
    """
    # Imported here: torchvision loads torch.
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    tests = [root / name for name in ("test", "val") if (root / name).is_dir()]
    # A competition's test/ has no class folders, for its labels are secret: val/ goes before it.
    tests.sort(key=lambda folder: not _classes(folder))
    splits, classes = [], _classes(root / "train")
    labels = {name: i for i, name in enumerate(classes)}
    for name, folder in zip(("train", "test"), [root / "train", *tests[:1]], strict=False):
        found = _classes(folder)
        if not found:
            raise DataError(f"{folder}: holds no class folder; {LAYOUT}")
        check_classes(classes, found, folder, "give both the same class folders")
        try:
            samples = make_dataset(str(folder), labels, IMG_EXTENSIONS)
        except FileNotFoundError as error:
            reason = str(error).split(" Supported")[0].rstrip(".")
            raise DataError(f"{folder}: {reason}; {LAYOUT}") from None
        splits.append(split_of(name, samples, root))
    if len(classes) == 1:  # one folder of everything says nothing of an image
        none = [replace(split, labels=np.full_like(split.labels, -1)) for split in splits]
        return Dataset(none)
    return Dataset(splits, classes)


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
