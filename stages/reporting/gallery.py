"""A few of the mined pairs to look at, right and wrong ones as often as they are among all."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from stages.common.pairs import Pairs
from stages.reporting.blocks import Blocks
from stages.reporting.samples import more_of, sample

CARDS = 24  # in the sample, and of each kind
KINDS = ("unknown", "same", "different")  # whether the labels agree
EDGE = 96  # pixels, the longest side of a thumbnail
CRISP = 48  # pixels; images up to this are shown with their pixels as squares


class Images(Protocol):
    """What the gallery needs of an ImageStore."""

    labels: np.ndarray  # (N,) by id, -1 = none
    classes: list[str] | None  # names by label, if known

    def read(self, image_id: int) -> Image.Image: ...


@dataclass(frozen=True)
class Thumbnail:
    uri: str
    width: int  # pixels
    height: int
    crisp: bool  # small, and shown with its pixels as squares


@dataclass(frozen=True)
class Picture(Thumbnail):
    id: int
    label: str


@dataclass(frozen=True)
class Card:
    similarity: str
    kind: str  # one of KINDS
    sampled: bool  # in true proportion; else shown by the filter of its kind alone
    anchor: Picture
    positive: Picture


def make_gallery(blocks: Blocks, images: Images) -> list[Card]:
    """A sample of the pairs by falling similarity, then more of the kind that is rare in it.

    Always the same ones for the same pairs, of which memory holds one block.
    """

    def kind(pairs: Pairs) -> np.ndarray:
        first, second = images.labels[pairs.anchor], images.labels[pairs.positive]
        return np.where((first < 0) | (second < 0), 0, np.where(first == second, 1, 2))

    rng = np.random.default_rng(0)
    sampled = sample(blocks, CARDS, rng)
    more = [more_of(blocks, kind, number, sampled, CARDS, rng) for number in (1, 2)]
    cards = []
    for part in (sampled, *more):
        for anchor, positive, similarity, number in zip(*part, kind(part), strict=True):
            ends = (picture(int(id), images) for id in (anchor, positive))
            cards.append(Card(f"{similarity:.4f}", KINDS[number], part is sampled, *ends))
    return cards


def picture(image_id: int, images: Images, edge: int = EDGE) -> Picture:
    """The image to the bit if it is small, else a thumbnail of at most `edge` pixels a side."""
    shown = thumbnail(images.read(image_id).convert("RGB"), edge)
    name = class_name(int(images.labels[image_id]), images.classes)
    return Picture(**vars(shown), id=image_id, label=name)


def thumbnail(image: Image.Image, edge: int = EDGE) -> Thumbnail:
    """Of an image in RGB; what is small stays as it is, to the bit."""
    crisp = max(image.size) <= CRISP
    image.thumbnail((edge, edge))
    stream = io.BytesIO()
    image.save(stream, "PNG" if crisp else "JPEG", quality=85)
    uri = f"data:image/{'png' if crisp else 'jpeg'};base64,"
    uri += base64.b64encode(stream.getvalue()).decode()
    return Thumbnail(uri, *image.size, crisp)


def class_name(label: int, classes: list[str] | None) -> str:
    """The name of a class if there is one, else its number; -1: there is no label."""
    names = classes or ()
    return "no label" if label < 0 else names[label] if label < len(names) else str(label)
