"""A few of the mined pairs to look at: right ones and wrong ones, over the whole interval."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from PIL import Image

CARDS = 24
WRONG = 8  # of these, cards kept for pairs whose labels disagree, however rare they are
EDGE = 96  # pixels, the longest side of a thumbnail
CRISP = 48  # pixels; images up to this are shown with their pixels as squares


class Images(Protocol):
    """What the gallery needs of an ImageStore."""

    labels: np.ndarray  # (N,) by id, -1 = none
    classes: list[str] | None  # names by label, if known

    def read(self, image_id: int) -> Image.Image: ...


@dataclass(frozen=True)
class Picture:
    id: int
    label: str
    uri: str
    width: int  # pixels of the thumbnail
    height: int
    crisp: bool


@dataclass(frozen=True)
class Card:
    similarity: str
    kind: str  # same | different | unknown: whether the labels agree
    anchor: Picture
    positive: Picture


def make_gallery(pairs: pa.Table, images: Images) -> list[Card]:
    """Up to 24 of the pairs, by falling similarity; always the same ones for the same pairs."""
    anchor, positive, similarity = (pairs.column(i).to_numpy() for i in range(3))
    first, second = images.labels[anchor], images.labels[positive]
    known = (first >= 0) & (second >= 0)
    wrong = known & (first != second)
    chosen = choose(similarity, wrong)
    cards = []
    for row in chosen.tolist():
        kind = "different" if wrong[row] else "same" if known[row] else "unknown"
        ends = (picture(int(ids[row]), images) for ids in (anchor, positive))
        cards.append(Card(f"{similarity[row]:.4f}", kind, *ends))
    return cards


def choose(similarity: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Up to 24 rows of (M,) pairs, by falling similarity, both wrong and other ones among them."""
    groups = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    others = min(len(groups[1]), CARDS - min(len(groups[0]), WRONG))
    counts = min(len(groups[0]), CARDS - others), others
    rows = np.concatenate(
        [group[spread(similarity[group], n)] for group, n in zip(groups, counts, strict=True)]
    )
    return rows[np.lexsort((rows, -similarity[rows]))]


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of `count` different ones of the values (M,), M >= count, even over their range."""
    if count == 0:
        return np.empty(0, np.int64)
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    targets = np.linspace(ascending[0], ascending[-1], count)
    steps = np.arange(count)
    place = np.searchsorted(ascending, targets)
    place = np.maximum.accumulate(place - steps) + steps  # no place twice …
    return order[np.minimum(place, len(values) - count + steps)]  # … nor past the end


def picture(image_id: int, images: Images) -> Picture:
    """The image as it is if it is small, else a thumbnail."""
    image = images.read(image_id).convert("RGB")
    small = max(image.size) <= EDGE
    if not small:
        image.thumbnail((EDGE, EDGE))
    stream = io.BytesIO()
    image.save(stream, *(["PNG"] if small else ["JPEG"]), quality=85)
    uri = f"data:image/{'png' if small else 'jpeg'};base64,"
    uri += base64.b64encode(stream.getvalue()).decode()
    label = int(images.labels[image_id])
    names = images.classes or ()
    name = "no label" if label < 0 else names[label] if label < len(names) else str(label)
    return Picture(image_id, name, uri, *image.size, crisp=max(image.size) <= CRISP)
