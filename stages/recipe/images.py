"""What the images of a data set are: all are counted, and some, drawn at random, decoded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageStat

from stages import datasets
from stages.common import env
from stages.common.errors import BrokenImage, DataError, some
from stages.common.pixels import decode
from stages.common.progress import Progress
from stages.common.sections import BUNDLED
from stages.datasets import Dataset, Split
from stages.datasets._holdout import hold_out
from stages.datasets._survey import files_of, in_threads

MOST = 1_000  # images that are decoded
PATIENCE = 20.0  # seconds, after which fewer will do
FEW = 2_000  # labelled images below which a fifth of them tests, and not a tenth
FIRST = 5_000  # rows of encoded images that are drawn from: they are read from the first one on
COLOUR = 2.0  # of 255: mean difference between channels that a grey JPEG has at most
TRIPLE = tuple[float, float, float]


@dataclass(frozen=True)
class Sample:
    """Some of the training images."""

    count: int
    broken: int  # of as many more that were drawn
    edge: int  # pixels, the median of their shorter edges
    edges: tuple[int, int]  # the smallest and the largest of these
    size: tuple[int, int] | None  # width and height, if all of these have the same
    sure: bool  # whether all other images have that, too
    grey: bool
    mean: TRIPLE  # of RGB in [0, 1]
    std: TRIPLE
    decode: float  # seconds for each to be read and decoded; 0 where they are in memory


@dataclass(frozen=True)
class Images:
    """How many there are, those that do not decode not among them."""

    name: str  # of the data set
    train: int  # images, those that `split` takes away not among them
    test: int  # images with a label that tells how good an encoder is
    labelled: int  # images with a label that a classifier can learn from
    classes: int  # that occur among these
    split: float | None  # share of the labelled ones that tests, where no labelled test split is
    no_labels: bool  # a column of labels is missing, where the layout has one
    sample: Sample
    unused: int = 0  # other images of the test split, which are held all the same
    estimated: bool = False  # whether some do not decode, and how many was not looked at

    @property
    def kept(self) -> int:
        """That `prepare` holds."""
        return self.train + self.test + self.unused

    @property
    def evaluable(self) -> bool:
        """Whether labels tell how good an encoder is."""
        return self.test > 0 and self.classes > 1


def look_at(name: str) -> Images:
    """The images of data set `name`; raises DataError where there are none, or none decodes."""
    root = env.data_root()
    if name not in BUNDLED and not root.is_dir():
        default = " (where it is not set)" if root == env.in_repository("data/raw") else ""
        problem = "is a file, and no folder" if root.exists() else "no such folder"
        raise DataError(
            f"SEPP_DATA_ROOT: '{root}'{default}: {problem}; set SEPP_DATA_ROOT to the folder that "
            f"holds the {name} files"
        )
    return look(name, datasets.read(name, root), root)


def look(name: str, dataset: Dataset, root: Path, seed: int = 0) -> Images:
    """Raises DataError where no image is, or none of those drawn decodes."""
    splits = {split.name: split for split in dataset.splits}
    train, test = splits["train"], splits.get("test")
    if not len(train.labels):
        raise DataError(f"{root}: the train split has no images")
    sample, decodes = draw(train, root, seed)
    learnt = splits.get("labelled", train).labels
    known = np.flatnonzero(learnt >= 0)
    classes = len(np.unique(learnt[known]))
    there = len(test.labels) if test else 0
    tests = int((test.labels >= 0).sum()) if test and classes > 1 else 0
    share, held = None, known[:0]
    if not tests and classes > 1 and "labelled" not in splits:
        wanted = 0.2 if len(known) < FEW else 0.1
        held = known[hold_out(learnt[known], wanted, seed)]
        share = wanted if len(held) else None  # no class may have two images
        there = tests = decodes.among(held)  # a test split without labels is not held then
    rest = np.setdiff1d(np.arange(len(train.labels)), held)
    own = np.setdiff1d(known, held)
    labelled = len(own) if "labelled" in splits else decodes.among(own)
    return Images(
        name=name,
        train=decodes.among(rest),
        test=tests,
        labelled=labelled,
        classes=classes,
        split=share,
        no_labels=dataset.unlabelled is not None,
        sample=sample,
        unused=there - tests,
        estimated=sample.broken > 0 and not decodes.every,
    )


class Decodes(NamedTuple):
    """Which of the images that were looked at decode."""

    broken: np.ndarray  # (M,) rows of those that do not
    share: float  # of those that do
    every: bool  # whether all were looked at

    def among(self, rows: np.ndarray) -> int:
        """How many of the images `rows` decode: counted, or to be expected."""
        if self.every:
            return len(np.setdiff1d(rows, self.broken))
        return round(self.share * len(rows))


def draw(split: Split, root: Path, seed: int = 0) -> tuple[Sample, Decodes]:
    """Decode some images of `split`, drawn at random, as many at a time as `prepare` does.

    Raises:
        DataError: none of them decodes.
    """
    rng, total = np.random.default_rng(seed), len(split.labels)
    if split.encoded is not None:
        total = min(total, FIRST)
    rows = rng.choice(total, min(total, MOST), replace=False)
    if split.encoded is not None:
        rows.sort()  # the order in which they are read
    began = time.perf_counter()
    looks = list(_looks(split, rows, root))
    seconds = time.perf_counter() - began
    seen = [one for one in looks if isinstance(one, _Look)]
    broken = [one for one in looks if isinstance(one, BrokenImage)]
    if not seen:
        raise DataError(f"{root}: none of {len(broken)} images decodes: {some(broken, 3)}")
    sizes = [one.size for one in seen]
    edges = [min(size) for size in sizes]
    mean = np.mean([one.mean for one in seen], axis=0)  # (3,); every image counts alike
    square = np.mean([one.square for one in seen], axis=0)
    sample = Sample(
        count=len(seen),
        broken=len(broken),
        edge=int(np.median(edges)),
        edges=(min(edges), max(edges)),
        size=sizes[0] if len(set(sizes)) == 1 else None,
        sure=split.pixels is not None or len(seen) == len(split.labels),
        grey=all(one.grey for one in seen),
        mean=_rounded(mean),
        std=_rounded(np.sqrt(np.maximum(square - mean**2, 1e-6))),
        decode=0.0 if split.pixels is not None else seconds / len(looks),
    )
    bad = np.array([isinstance(one, BrokenImage) for one in looks])
    every = split.pixels is not None or len(looks) == len(split.labels)
    return sample, Decodes(rows[: len(looks)][bad], len(seen) / len(looks), every)


class _Look(NamedTuple):
    size: tuple[int, int]  # width, height in pixels
    mean: np.ndarray  # (3,) over the pixels, in [0, 1]
    square: np.ndarray  # (3,) mean of their squares
    grey: bool


def _looks(split: Split, rows: np.ndarray, root: Path) -> Iterator[_Look | BrokenImage]:
    """At the images `rows`, or why one does not decode; at the first ones alone where all would
    take long."""
    if split.pixels is not None:
        yield from (_about(Image.fromarray(split.pixels[row])) for row in rows)
        return
    began = time.monotonic()
    with Progress("look at images", len(rows), "images") as progress:
        for look in in_threads(_look, files_of(split, rows, root)):
            yield look
            progress.advance()
            if time.monotonic() - began > PATIENCE:
                progress.total = progress.bar.total = progress.done  # that was all
                return


def _look(name: str, source: Path | bytes) -> _Look | BrokenImage:
    try:
        return _about(decode(source, name))
    except BrokenImage as error:
        return BrokenImage(error.where, error.reason)  # without the frames, which hold the content


def _about(image: Image.Image) -> _Look:
    about = ImageStat.Stat(image)
    red, green, blue = image.split()
    apart = [ImageStat.Stat(ImageChops.difference(green, one)).mean[0] for one in (red, blue)]
    square = np.array(about.sum2) / about.count / 255**2
    return _Look(image.size, np.array(about.mean) / 255, square, max(apart) <= COLOUR)


def _rounded(values: np.ndarray) -> TRIPLE:
    return tuple(round(float(value), 4) for value in values)
