"""A few of the mined pairs to look at, right and wrong ones as often as they are among all."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from PIL import Image

CARDS = 24  # in the sample, and of each kind
EDGE_OF_BIN = 1e-4  # of a hundredth: a float32 is a little below the decimal that it stands for
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
    sampled: bool  # in true proportion; else shown by the filter of its kind alone
    anchor: Picture
    positive: Picture


def make_gallery(pairs: pa.Table, images: Images) -> list[Card]:
    """A sample of the pairs by falling similarity, then more of the kind that is rare in it.

    Always the same ones for the same pairs.
    """
    anchor, positive, similarity = (pairs.column(i).to_numpy() for i in range(3))
    first, second = images.labels[anchor], images.labels[positive]
    known = (first >= 0) & (second >= 0)
    wrong = known & (first != second)
    rng = np.random.default_rng(0)
    sampled = sample(similarity, CARDS, rng)
    cards = []
    for row in [*sampled, *_more(sampled, (known & ~wrong, wrong), rng)]:
        kind = "different" if wrong[row] else "same" if known[row] else "unknown"
        ends = (picture(int(ids[row]), images) for ids in (anchor, positive))
        cards.append(Card(f"{similarity[row]:.4f}", kind, len(cards) < len(sampled), *ends))
    return cards


def sample(similarity: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Up to `count` rows of (M,) pairs, by falling similarity: of each 0.01 of similarity as large
    a share as it has of all pairs, at random, so that nothing looks more frequent than it is."""
    bins = np.floor(100 * similarity.astype(np.float64) + EDGE_OF_BIN).astype(np.int64)
    names, place, sizes = np.unique(bins, return_inverse=True, return_counts=True)
    quota = min(count, len(similarity)) * sizes / max(1, len(similarity))
    taken = np.floor(quota).astype(np.int64)
    # The places left over go to bins at random, each with the chance of its remainder.
    left = min(count, len(similarity)) - int(taken.sum())
    if left:
        rest = quota - taken
        taken[rng.choice(len(names), left, replace=False, p=rest / rest.sum())] += 1
    chosen = [
        rng.choice(np.flatnonzero(place == bin_), number, replace=False)
        for bin_, number in enumerate(taken)
    ]
    rows = np.concatenate(chosen) if chosen else np.empty(0, np.int64)
    return rows[np.lexsort((rows, -similarity[rows]))]


def _more(
    sampled: np.ndarray, kinds: tuple[np.ndarray, ...], rng: np.random.Generator
) -> list[int]:
    """Rows beside the sampled ones, so that the filters have up to 24 of each kind (M,) to show."""
    more: list[int] = []
    for kind in kinds:
        others = np.setdiff1d(np.flatnonzero(kind), sampled)
        wanted = CARDS - int(kind[sampled].sum())
        more += np.sort(rng.choice(others, min(wanted, len(others)), replace=False)).tolist()
    return more


def picture(image_id: int, images: Images, edge: int = EDGE) -> Picture:
    """The image to the bit if it is small, else a thumbnail of at most `edge` pixels a side."""
    image = images.read(image_id).convert("RGB")
    crisp = max(image.size) <= CRISP
    image.thumbnail((edge, edge))
    stream = io.BytesIO()
    image.save(stream, "PNG" if crisp else "JPEG", quality=85)
    uri = f"data:image/{'png' if crisp else 'jpeg'};base64,"
    uri += base64.b64encode(stream.getvalue()).decode()
    name = class_name(int(images.labels[image_id]), images.classes)
    return Picture(image_id, name, uri, *image.size, crisp)


def class_name(label: int, classes: list[str] | None) -> str:
    """The name of a class if there is one, else its number; -1: there is no label."""
    names = classes or ()
    return "no label" if label < 0 else names[label] if label < len(names) else str(label)
