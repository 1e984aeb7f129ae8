"""Many small pictures as one WebP image, from which the page's script cuts them.

Pictures get as large, and as finely coded, as the bytes allow that there are for them.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from stages.reporting.gallery import CRISP, Images

LARGEST = 128  # pixels, edge of a picture
BLOCK = 16  # pixels that WebP codes together: pictures start at multiples, and none bleeds
PIXELS = 2**24  # of the whole, which a browser holds decoded
SAMPLE = 96  # pictures by which bytes are foretold
# Tried in turn: quality (None: lossless) at an edge no longer than this.
SMALL = ((CRISP, None), *((CRISP, quality) for quality in (92, 85, 75, 60, 45)))
LADDER = (
    *((edge, 70) for edge in range(LARGEST, CRISP, -BLOCK)),
    *((CRISP, 60), (CRISP, 45), (32, 45), (32, 30), (16, 30)),
)


@dataclass(frozen=True)
class Thumbnails:
    """Pictures (h, w, 3) uint8; small ones as they are, with their pixels to be seen."""

    pixels: list[np.ndarray]

    @property
    def crisp(self) -> bool:
        return all(max(tile.shape) <= CRISP for tile in self.pixels)


@dataclass(frozen=True)
class Sprite:
    uri: str
    cell: int  # pixels from one picture to the next
    columns: int
    widths: list[int]  # pixels, of each picture, row by row
    heights: list[int]


def thumbnails(ids: Sequence[int], images: Images) -> Thumbnails:
    """The images `ids`, read one after the other. Raises DataError if one is gone."""
    edge = int(math.sqrt(PIXELS / max(1, len(ids)))) // BLOCK * BLOCK
    edge = min(LARGEST, max(CRISP, edge))
    return Thumbnails([_shrunk(images.read(id).convert("RGB"), edge) for id in ids])


def make_sprite(thumbnails: Thumbnails, budget: int) -> Sprite | None:
    """The first of the ladder whose URI has at most `budget` characters, or the last; None without
    pictures. The same pictures give the same bytes."""
    if not thumbnails.pixels:
        return None
    most = 3 * (budget - 64) // 4  # bytes that base64 makes so many characters of
    steps = list(LADDER)
    if thumbnails.crisp:
        steps = [*SMALL, *(step for step in LADDER if step[0] < CRISP)]
    for edge, quality in steps:
        last = (edge, quality) == steps[-1]
        if not last and _foretold(thumbnails, edge, quality) > most:
            continue
        sprite, size = _sprite(thumbnails.pixels, edge, quality)
        if size <= most:
            break
    return sprite


def _foretold(thumbnails: Thumbnails, edge: int, quality: int | None) -> float:
    """Bytes of all, by some of them."""
    count = len(thumbnails.pixels)
    some = thumbnails.pixels[:: -(-count // SAMPLE)]
    return _sprite(some, edge, quality)[1] * count / len(some)


def _sprite(pixels: list[np.ndarray], edge: int, quality: int | None) -> tuple[Sprite, int]:
    """The picture of all, and its bytes."""
    tiles = list(_fitting(pixels, edge))
    cell = max(max(tile.shape[:2]) for tile in tiles)
    if quality is not None:
        cell = -(-cell // BLOCK) * BLOCK
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * cell, columns * cell, 3), np.uint8)
    for place, tile in enumerate(tiles):
        y, x = (cell * n for n in divmod(place, columns))
        rest = [(0, cell - side) for side in tile.shape[:2]]
        # Repeated edges cost next to nothing, and draw no line into the picture.
        sheet[y : y + cell, x : x + cell] = np.pad(tile, (*rest, (0, 0)), "edge")
    stream = io.BytesIO()
    how = {"lossless": True, "quality": 60} if quality is None else {"quality": quality}
    Image.fromarray(sheet).save(stream, "WEBP", **how)
    uri = f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
    heights, widths = ([tile.shape[side] for tile in tiles] for side in (0, 1))
    return Sprite(uri, cell, columns, widths, heights), stream.tell()


def _fitting(pixels: Iterable[np.ndarray], edge: int) -> Iterator[np.ndarray]:
    for tile in pixels:
        yield tile if max(tile.shape) <= edge else _shrunk(Image.fromarray(tile), edge)


def _shrunk(image: Image.Image, edge: int) -> np.ndarray:
    if max(image.size) > edge:
        image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return np.asarray(image)
