"""What the images of a data set are: all are counted, and some, drawn at random, decoded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageStat

from stages.common.errors import BrokenImage, DataError, some
from stages.common.pixels import decode
from stages.common.progress import Progress
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
    name: str  # of the data set
    train: int  # images, those that `split` takes away not among them
    test: int
    labelled: int  # images with a label that a classifier can learn from
    classes: int  # that occur among these
    split: float | None  # share of the labelled ones that tests, where no labelled test split is
    no_labels: bool  # a column of labels is missing, where the layout has one
    sample: Sample

    @property
    def evaluable(self) -> bool:
        """Whether labels tell how good an encoder is."""
        return self.test > 0 and self.classes > 1


def look(name: str, dataset: Dataset, root: Path, seed: int = 0) -> Images:
    """Raises DataError where no image is, or none of those drawn decodes."""
    splits = {split.name: split for split in dataset.splits}
    train = splits["train"]
    if not len(train.labels):
        raise DataError(f"{root}: the train split has no images")
    learnt = splits.get("labelled", train).labels
    known, test = learnt[learnt >= 0], splits.get("test")
    tests = int((test.labels >= 0).sum()) if test else 0
    classes, share, held = len(np.unique(known)), None, 0
    if not tests and classes > 1 and "labelled" not in splits:
        share = 0.2 if len(known) < FEW else 0.1
        tests = held = len(hold_out(known, share, seed))
    return Images(
        name=name,
        train=len(train.labels) - held,
        test=tests,
        labelled=len(known) - held,
        classes=classes,
        split=share,
        no_labels=dataset.unlabelled is not None,
        sample=draw(train, root, seed),
    )


def draw(split: Split, root: Path, seed: int = 0) -> Sample:
    """Decode some images of `split`, drawn at random, as many at a time as `prepare` does.

    Raises:
        DataError: none of them decodes.
    """
    rng, total = np.random.default_rng(seed), len(split.labels)
    if split.encoded is not None:
        total = min(total, FIRST)
    rows = rng.choice(total, min(total, MOST), replace=False)
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
    return Sample(
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
