"""One look at every image of a split: does it decode, how large is it, what is its content."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from stages.common import env, pixels
from stages.common.errors import BrokenImage
from stages.common.progress import Progress
from stages.datasets import Split

BLOCK = 512  # images in work at a time
BLACK = 16  # of 255: an image without a brighter value shows next to nothing
T = TypeVar("T")


class Look(NamedTuple):
    size: tuple[int, int]  # width, height in pixels
    length: int  # bytes of the encoded file
    digest: str  # of these bytes
    black: str | None  # its name where it is all but black


@dataclass(frozen=True)
class Survey:
    """The images of a split that are used: `rows` of it, ascending."""

    split: Split
    root: Path
    rows: np.ndarray  # (M,) int64
    sizes: set[tuple[int, int]]  # all (width, height) that occur
    lengths: np.ndarray  # (M,) int64 bytes of each encoded file
    digests: list[str]  # (M,)
    broken: list[BrokenImage]  # those that do not decode
    black: list[str]  # names of those used that are all but black

    def paths(self) -> list[str]:
        """Of the image files below the data root, where there are such."""
        return [self.split.paths[row] for row in self.rows] if self.split.paths else []

    def contents(self) -> Iterator[bytes]:
        """The encoded files, in the order of `rows`."""
        files = files_of(self.split, self.rows, self.root)
        return (pixels.read(source, name) for name, source in files)


def survey(split: Split, rows: np.ndarray, root: Path) -> Survey:
    """Decode the images `rows` of `split`, SEPP_WORKERS at a time; memory holds one block."""
    if split.pixels is not None:
        height, width = split.pixels.shape[1:3]
        nothing = np.zeros(len(rows), np.int64)
        return Survey(split, root, rows, {(width, height)}, nothing, [""] * len(rows), [], [])
    looks: list[Look | BrokenImage] = []
    with Progress(f"check {split.name}", len(rows), "images") as progress:
        for look in in_threads(_look, files_of(split, rows, root)):
            looks.append(look)
            progress.advance()
    good = [look for look in looks if isinstance(look, Look)]
    return Survey(
        split,
        root,
        rows[np.array([isinstance(look, Look) for look in looks], dtype=bool)],
        {look.size for look in good},
        np.array([look.length for look in good], dtype=np.int64),
        [look.digest for look in good],
        broken=[look for look in looks if isinstance(look, BrokenImage)],
        black=[look.black for look in good if look.black is not None],
    )


def decoded(found: Survey, resize: int | None = None) -> Iterator[np.ndarray]:
    """Blocks (B, H, W, 3) uint8 of the images in the order of `rows`; of each its central square,
    with an edge of `resize` pixels, if that is given."""
    if found.split.pixels is not None:
        for start in range(0, len(found.rows), BLOCK):
            block = found.split.pixels[found.rows[start : start + BLOCK]]
            yield block if resize is None else np.stack([_square(x, resize) for x in block])
        return
    with Progress(f"pack {found.split.name}", len(found.rows), "images") as progress:
        work = functools.partial(_pixels, resize=resize)
        for block in in_threads(work, files_of(found.split, found.rows, found.root)):
            yield block
            progress.advance()


def files_of(split: Split, rows: np.ndarray, root: Path) -> Iterator[tuple[str, Path | bytes]]:
    """(name for messages, file or its bytes) of the images `rows`, which ascend."""
    if split.paths is not None:
        for row in rows:
            path = root / split.paths[row]
            yield str(path), path
        return
    wanted = set(rows.tolist())
    for row, file in enumerate(split.encoded()):
        if row in wanted:
            yield file


def in_threads(
    work: Callable[[str, Path | bytes], T], files: Iterator[tuple[str, Path | bytes]]
) -> Iterator[T]:
    """work(name, source) in order. Pillow decodes without holding the interpreter's lock."""
    with ThreadPoolExecutor(max(1, env.workers())) as pool:
        while block := list(islice(files, BLOCK)):
            yield from pool.map(work, *zip(*block, strict=True))


def _look(name: str, source: Path | bytes) -> Look | BrokenImage:
    try:
        content = pixels.read(source, name)
        image = pixels.decode(content, name)
    except BrokenImage as error:
        return BrokenImage(error.where, error.reason)  # without the frames, which hold the content
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    black = all(high < BLACK for _, high in image.getextrema())
    return Look(image.size, len(content), digest, name if black else None)


def _square(image: np.ndarray, edge: int) -> np.ndarray:  # (H, W, 3) -> (E, E, 3)
    return np.asarray(pixels.square(Image.fromarray(image), edge))


def _pixels(name: str, source: Path | bytes, resize: int | None) -> np.ndarray:  # (1, H, W, 3)
    return np.asarray(pixels.square(pixels.decode(source, name), resize))[None]
