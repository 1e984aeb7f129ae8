"""Which score finds the best pairs: the pairs of each, and what can be said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common.pairs import Pairs, join
from stages.common.scores import COLUMNS, PER_IMAGE, Row, Score
from stages.common.sepp_sections import SeppMining
from stages.mining.files import read_pairs
from stages.mining.search import find, similarity_of, wanted
from stages.mining.top import highest
from stages.mining.transform import TRANSFORMS, transform_rows

NEIGHBOURS = 10  # of the walks, where params.yaml has none
Embeddings = Mapping[tuple[str, int], np.ndarray]  # (K, D) unit rows of each layer, number of views
# The metrics of pairs of rows, at least one: `quality.describe`, by labels or by judged pairs.
Judge = Callable[[Iterable[Pairs]], dict[str, object]]


class Settings(NamedTuple):
    """How pairs are searched for, whatever the score."""

    sepp: SeppMining  # of which engine, memory, shrinkage and neighbours count
    seed: int
    scratch: Path  # an empty folder

    @property
    def neighbours(self) -> int:
        return self.sepp.neighbours or NEIGHBOURS


def pairs_by_score(
    embeddings: Embeddings, ids: np.ndarray, settings: Settings, source: object = "embeddings"
) -> Iterator[tuple[Score, Pairs]]:
    """The most similar pairs by each score, PER_IMAGE[-1] * K of them, in the order of rows.

    They are those that `mine` finds for as many `sepp.pairs_per_image` with `sepp.max` 1. `ids`
    (K,) and `source` name rows in errors. Memory: the embeddings, one of them once more, what
    mining them takes, and the pairs.
    """
    for (layer, views), plain in embeddings.items():
        for transform in TRANSFORMS:
            x = plain.copy()
            transform_rows(x, transform, settings.sepp.shrinkage, ids, source)
            for selection, neighbours in (("highest", 0), ("walks", settings.neighbours)):
                score = Score(layer, transform, views, selection)
                yield score, _most_similar(x, neighbours, settings)


def scores_of(embeddings: Embeddings) -> int:
    """How many scores `pairs_by_score` goes through."""
    return len(embeddings) * len(TRANSFORMS) * 2


def _most_similar(x: np.ndarray, neighbours: int, settings: Settings) -> Pairs:
    changes = {"neighbours": neighbours, "max": 1.0, "pairs_per_image": PER_IMAGE[-1]}
    sepp = settings.sepp.model_copy(update=changes)
    memory = int(sepp.memory * 2**30) // 2
    score = similarity_of(x, sepp, settings.seed, memory, settings.scratch)
    rows, file = np.arange(len(x)), settings.scratch / "pairs.parquet"
    found = find(score, rows, sepp, file)
    return join([] if found is None else read_pairs(file, rows))


def measure(pairs: Pairs, paper: Pairs, images: int, judge: Judge) -> dict[float, Row]:
    """What there is to say of the first pairs, by falling similarity, for each of PER_IMAGE.

    `pairs` of a score and of the `paper`'s, each at least as many as are wanted, or all there are,
    of `images` rows. accuracy, with its 95 % interval, class_balance, and similarity_mean as in
    `quality.describe`; images_covered: the share of images in any pair; similarity: the lowest,
    where it cut; pairs: how many there are; agreement: share of the paper's that are among them.
    """
    found: dict[float, Row] = {}
    for per_image in PER_IMAGE:
        count = wanted(per_image, images)
        first, other = _first(pairs, count), _first(paper, count)
        row: dict[str, object] = dict.fromkeys(COLUMNS[5:])
        if len(first.anchor):
            metrics = judge([first])
            row |= {name: metrics[name] for name in row if name in metrics}
            row["images_covered"] = round(metrics["anchors_covered"] / images, 6)
            row["similarity"] = metrics["similarity_min"]
        row["pairs"] = len(first.anchor)
        row["agreement"] = _shared(other, first, images)
        found[per_image] = row
    return found


def _first(pairs: Pairs, count: int) -> Pairs:
    return join(highest(lambda: iter([pairs]), count))


def _shared(pairs: Pairs, others: Pairs, images: int) -> float | None:
    """Share of `pairs` that are among `others`; None if there are none."""
    if not len(pairs.anchor):
        return None
    keys = (some.anchor * images + some.positive for some in (pairs, others))
    return round(float(np.isin(*keys).mean()), 6)
