"""What the page's script needs to tell of every interval of similarity, and to put pairs to people.

Bounded, whatever there is: counts of each bin and each interval, some pairs, and their images.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stages.common.bins import bins_of
from stages.common.explored import Explored
from stages.common.judged import Answer
from stages.reporting.gallery import Images, class_name
from stages.reporting.sprite import Thumbnails, thumbnails


class Named(Images, Protocol):
    """What it needs of an ImageStore."""

    def key(self, id: int) -> str: ...


@dataclass(frozen=True)
class Explorer:
    low: float  # ends of the sliders
    high: float
    width: float  # of a bin
    digits: int  # after the point, that tell two edges apart
    chosen: tuple[float, float]  # what the sliders are at first: the mined interval, or nearly
    labelled: bool  # whether labels decide accuracy
    exact: bool  # else counts are estimates
    anchors: int  # from so many images
    own: int  # answers in the file that are on these pairs
    others: int  # and that are on others
    asked: int  # pairs that are put to people
    data: dict  # for the script
    thumbnails: Thumbnails


def make_explorer(
    explored: Explored,
    images: Named,
    answers: Sequence[Answer],
    interval: tuple[float, float],
    per_image: float | None,
) -> Explorer:
    """`interval` is that of the mined pairs; `per_image`, how many were asked for, if so.

    Raises DataError if an image is gone.
    """
    edges, shown = explored.edges, explored.shown
    ends = np.stack([shown[name].to_numpy() for name in ("anchor", "positive")])  # (2, P)
    tiles, places = np.unique(ends, return_inverse=True)
    similarity, turn = (shown[name].to_numpy() for name in ("similarity", "turn"))
    first, stop = (int(np.abs(edges - bound).argmin()) for bound in interval)
    first = min(first, len(edges) - 2)
    last = max(first, stop - 1)
    width = float(edges[1] - edges[0])
    keys = [images.key(id) for id in tiles.tolist()]
    places = places.reshape(ends.shape)
    pairs = {
        "first": places[0].tolist(),
        "second": places[1].tolist(),
        "similarity": np.round(similarity.astype(np.float64), 6).tolist(),
        "bin": bins_of(similarity, edges).tolist(),
        "turn": turn.tolist(),
    }
    labelled = bool(explored.known.sum())
    about = {key: explored.about[key] for key in ("images", "train", "chance", "fingerprint")}
    data = {
        **about,
        "exact": explored.exact,
        "labelled": labelled,
        "perImage": per_image,
        "chosen": [first, last],
        "edges": edges.tolist(),
        **{name: getattr(explored, name).tolist() for name in ("pairs", "known", "right")},
        "covered": _triangle(np.round(explored.covered), "<u4"),
        "squares": _triangle(explored.squares, "<f4") if labelled else None,
        "tiles": {"id": tiles.tolist(), "key": keys, **_labels(tiles, images)},
        "shown": pairs,
        "answers": _sorted(answers, about["fingerprint"], _names(ends, places, keys)),
    }
    return Explorer(
        low=float(edges[0]),
        high=float(edges[-1]),
        width=round(width, 6),
        digits=max(2, int(np.ceil(-np.log10(width) - 1e-6))),
        chosen=(float(edges[first]), float(edges[last + 1])),
        labelled=labelled,
        exact=explored.exact,
        anchors=explored.about["anchors"],
        own=len(data["answers"]["own"]),
        others=len(data["answers"]["others"]),
        asked=int((turn >= 0).sum()),
        data=data,
        thumbnails=thumbnails(tiles.tolist(), images),
    )


def _triangle(square: np.ndarray, kind: str) -> str:
    """What lies on and above the diagonal of (B, B), row by row, in base64."""
    return base64.b64encode(square[np.triu_indices(len(square))].astype(kind).tobytes()).decode()


def _labels(tiles: np.ndarray, images: Images) -> dict[str, list]:
    """The names of the labels that there are, and which of them each image has; -1: none."""
    labels, places = np.unique(images.labels[tiles], return_inverse=True)
    names = [class_name(label, images.classes) for label in labels.tolist()]
    known = np.where(labels[places] < 0, -1, places)
    return {"names": names, "label": known.tolist()}


Name = tuple[int, int, str, str]  # of a pair, as an answer has it


def _names(ends: np.ndarray, places: np.ndarray, keys: Sequence[str]) -> dict[Name, int]:
    """The pairs, whose images are `ends` (2, P) with the keys at `places` (2, P)."""
    return {
        (*ends[:, pair].tolist(), *(keys[place] for place in places[:, pair])): pair
        for pair in range(ends.shape[1])
    }


def _sorted(answers: Sequence[Answer], fingerprint: str, names: dict[Name, int]) -> dict:
    """Answers on these pairs, put among these; and all others, so that none is lost where the page
    saves the file anew."""
    own, others = [], []
    for answer in answers:
        pair = names.get(answer[:4]) if answer.explored == fingerprint else None
        if pair is None:
            others.append(list(answer))
        else:
            own.append([pair, answer.answer, answer.judge])
    return {"own": own, "others": others}
