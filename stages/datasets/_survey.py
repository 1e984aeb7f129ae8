"""One look at every image of a split: does it decode, how large is it, what is its content."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from stages.common import env
from stages.common.errors import BrokenImage
from stages.common.progress import Progress
from stages.datasets import Split

log = logging.getLogger(__name__)
BLOCK = 512  # images in work at a time
T = TypeVar("T")


class Look(NamedTuple):
    size: tuple[int, int]  # width, height in pixels
    length: int  # bytes of the encoded file
    digest: str  # of these bytes


@dataclass(frozen=True)
class Survey:
    """The images of a split that are used: `rows` of it, ascending."""

    split: Split
    root: Path
    rows: np.ndarray  # (M,) int64
    sizes: set[tuple[int, int]]  # all (width, height) that occur
    lengths: np.ndarray  # (M,) int64 bytes of each encoded file
    digests: list[str]  # (M,)
    left_out: int  # images that do not decode

    def paths(self) -> list[str]:
        """Of the image files below the data root, where there are such."""
        return [self.split.paths[row] for row in self.rows] if self.split.paths else []

    def contents(self) -> Iterator[bytes]:
        """The encoded files, in the order of `rows`."""
        return (_read(source) for _, source in _files(self.split, self.rows, self.root))


def survey(split: Split, rows: np.ndarray, root: Path, skip_broken: bool) -> Survey:
    """Decode the images `rows` of `split`, SEPP_WORKERS at a time; memory holds one block.

    Raises:
        BrokenImage: names the first that does not decode, unless `skip_broken`.
    """
    if split.pixels is not None:
        height, width = split.pixels.shape[1:3]
        nothing = np.zeros(len(rows), np.int64)
        return Survey(split, root, rows, {(width, height)}, nothing, [""] * len(rows), 0)
    looks: list[Look | None] = []
    with Progress(f"check {split.name}", len(rows), "images") as progress:
        for name, look in _in_threads(_look, _files(split, rows, root)):
            if isinstance(look, Exception):
                broken = BrokenImage(name, look)
                if not skip_broken:
                    raise broken from None
                log.warning("left out: %s", str(broken).split("; ")[0])
            looks.append(None if isinstance(look, Exception) else look)
            progress.advance()
    good = [look for look in looks if look is not None]
    kept = rows[np.array([look is not None for look in looks], dtype=bool)]
    return Survey(
        split,
        root,
        kept,
        {look.size for look in good},
        np.array([look.length for look in good], dtype=np.int64),
        [look.digest for look in good],
        len(looks) - len(good),
    )


def decoded(found: Survey) -> Iterator[np.ndarray]:
    """Blocks (B, H, W, 3) uint8 of the images in the order of `rows`."""
    if found.split.pixels is not None:
        for start in range(0, len(found.rows), BLOCK):
            yield found.split.pixels[found.rows[start : start + BLOCK]]
        return
    with Progress(f"pack {found.split.name}", len(found.rows), "images") as progress:
        for _, pixels in _in_threads(_pixels, _files(found.split, found.rows, found.root)):
            yield pixels
            progress.advance()


def _files(split: Split, rows: np.ndarray, root: Path) -> Iterator[tuple[str, Path | bytes]]:
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


def _in_threads(
    work: Callable[[Path | bytes], T], files: Iterator[tuple[str, Path | bytes]]
) -> Iterator[tuple[str, T]]:
    """(name, work(source)) in order. Pillow decodes without holding the interpreter's lock."""
    with ThreadPoolExecutor(max(1, env.workers())) as pool:
        while block := list(islice(files, BLOCK)):
            names, sources = zip(*block, strict=True)
            yield from zip(names, pool.map(work, sources), strict=True)


def _read(source: Path | bytes) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source


def _look(source: Path | bytes) -> Look | Exception:
    try:
        content = _read(source)
        with Image.open(io.BytesIO(content)) as image:
            if image.mode[0] in "IF":  # Pillow would make all above 255 white in RGB
                raise ValueError(f"more than 8 bits a channel, Pillow's mode {image.mode}")
            image.load()
            digest = hashlib.blake2b(content, digest_size=8).hexdigest()
            return Look(image.size, len(content), digest)
    except UnidentifiedImageError:  # its own message is an address in memory
        return ValueError("no image format that Pillow knows")
    except OSError as error:
        return OSError(error.strerror) if error.strerror else error  # without the path again
    except Exception as error:  # Pillow's plugins raise nearly anything on a broken file
        return error


def _pixels(source: Path | bytes) -> np.ndarray:  # (1, H, W, 3)
    with Image.open(io.BytesIO(_read(source))) as image:
        return np.asarray(image.convert("RGB"))[None]
