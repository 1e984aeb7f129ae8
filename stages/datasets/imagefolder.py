"""Your own images: train/ and, to evaluate, test/ or val/, each a folder per class.

Images that lie beside the class folders, or in one called unlabelled/, have no label. Without any
of these folders, all images below the root are there to train on.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stages.common.errors import DataError
from stages.common.folders import images_in
from stages.common.unread import by_suffix
from stages.datasets import Dataset, Split
from stages.datasets._folders import check_classes, split_of

log = logging.getLogger(__name__)
TESTS = ("test", "val", "validation", "valid")  # the first with class folders, else the first
UNLABELLED = ("unlabelled", "unlabeled")
LAYOUT = (
    "every class is a folder of images below train/, and below test/ or val/ to evaluate; images "
    "without a label lie in train/ itself"
)


@dataclass(frozen=True)
class _Found:
    """The images of a folder, by their paths below the data root."""

    classes: dict[str, list[str]]  # by name
    unlabelled: list[str]
    others: list[str]  # whole paths of files that are no images


def read(root: Path) -> Dataset:
    """Labels count the class folders by name; images without one come last.

    Raises:
        DataError: there is no image, a class folder is empty, or the classes differ.
    """
    folders = _folders(root)
    found = {name: _look(folder, root) for name, folder in folders.items()}
    classes = list(found["train"].classes)
    if "test" in found and found["test"].classes:
        remedy = "give both the same class folders"
        check_classes(classes, list(found["test"].classes), folders["test"], remedy)
    others = [other for part in found.values() for other in part.others]
    splits = [_split(name, found[name], root, folder) for name, folder in folders.items()]
    if len(classes) > 1:
        return Dataset(splits, classes, others=others)
    if classes:
        log.info("%s: one class folder, %s/, is no label", folders["train"], classes[0])
    # One folder of everything says nothing of an image.
    none = [replace(split, labels=np.full_like(split.labels, -1)) for split in splits]
    return Dataset(none, others=others)


def _folders(root: Path) -> dict[str, Path]:
    """Where the images of train and, if there are any, of test are."""
    inside = _subfolders(root)
    if "train" not in inside:
        taken = [name for name in inside if name.lower() in ("train", "training", *TESTS)]
        if taken:
            raise DataError(f"{root}: holds {taken[0]}/, but no train/; {LAYOUT}")
        log.info("%s: has no train/, so it is taken for train/: its folders are classes", root)
        return {"train": root}
    # A competition's test/ has no class folders, for its labels are secret: val/ goes before it.
    tests = [root / name for name in TESTS if name in inside]
    tests.sort(key=lambda folder: not _classes(folder))
    chosen = dict(zip(("train", "test"), [root / "train", *tests[:1]], strict=False))
    unused = [f"{name}/" for name in inside if root / name not in chosen.values()]
    if unused:
        log.warning(
            "%s: %s: not read, as neither train/ nor a test split; what is to train belongs below "
            "train/",
            *(root, ", ".join(unused)),
        )
    return chosen


def _look(folder: Path, root: Path) -> _Found:
    images, others = images_in(folder)
    prefix = "" if folder == root else f"{folder.name}/"
    found = _Found({name: [] for name in _classes(folder)}, [], [f"{folder}/{n}" for n in others])
    for name in images:
        top, below, _ = name.partition("/")
        found.classes.get(top if below else "", found.unlabelled).append(prefix + name)
    if folder == root and images:  # what else lies in a folder of anything, such as __MACOSX
        for name in [name for name, images in found.classes.items() if not images]:
            log.warning("%s/%s/: holds no image, so it is no class", root, name)
            del found.classes[name]
    empty = [name for name, images in found.classes.items() if not images]
    if empty or not images:
        where = f"{folder}/{empty[0]}" if empty else str(folder)
        there = [name for name in found.others if name.startswith(f"{where}/")]
        only = f" (only {by_suffix(there)})" if there else ""
        raise DataError(f"{where}: holds no image{only}; fill or remove it: {LAYOUT}")
    return found


def _split(name: str, found: _Found, root: Path, folder: Path) -> Split:
    samples = [
        (path, label) for label, images in enumerate(found.classes.values()) for path in images
    ]
    samples += [(path, -1) for path in found.unlabelled]
    return split_of(name, samples, root, f"{folder.name}/")


def _classes(folder: Path) -> list[str]:
    return [name for name in _subfolders(folder) if name not in UNLABELLED]


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
