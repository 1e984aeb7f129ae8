"""What similarities there are: the artefact of the stage explore, and what it answers.

For every interval of similarity, at the resolution of its bins: how many pairs, how many images
they cover, how many are right. And some pairs of every bin, to look at and to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.common import artifacts
from stages.common.intervals import trials, wilson

# `turn`: place in the order in which pairs are put to a person, drawn by strata; -1 = only shown.
PAIRS = pa.schema([*artifacts.PAIRS, pa.field("turn", pa.int32())])
BINS = pa.schema(
    [pa.field(name, pa.float64()) for name in ("similarity", "pairs", "known", "right")]
)
# Bins `first` to `last`, both included: the images that have a pair in them, and the sum over
# images of the squared number of their pairs whose labels are known.
INTERVALS = pa.schema(
    [
        ("first", pa.int32()),
        ("last", pa.int32()),
        ("covered", pa.float64()),
        ("squares", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Explored:
    """B bins of similarity, bin b from edges[b] to edges[b + 1], the last with 1.0.

    Where not all K images were anchors, counts are estimates of what they are of all pairs.
    """

    edges: np.ndarray  # (B + 1,) float64
    pairs: np.ndarray  # (B,) unordered pairs
    known: np.ndarray  # (B,) of these, with both labels known
    right: np.ndarray  # (B,) of these, with equal labels
    covered: np.ndarray  # (B, B) images with a pair in bins [first, last], first <= last
    squares: np.ndarray  # (B, B) sum over images of their squared number of known pairs
    shown: pa.Table  # of PAIRS, by rising similarity
    about: dict  # images (K), anchors, chance, train, fingerprint, and the score's origin

    @property
    def exact(self) -> bool:
        return self.about["anchors"] == self.about["images"]

    def bins(self, low: float, high: float) -> tuple[int, int]:
        """First and last bin of [low, high], as near as bins come; first > last: none."""
        first = int(np.searchsorted(self.edges[:-1], low - 1e-9))
        last = int(np.searchsorted(self.edges[1:], high + 1e-9, "right")) - 1
        return first, last

    def count(self, first: int, last: int) -> float:
        """Pairs in bins `first` to `last`."""
        return float(self.pairs[first : last + 1].sum())

    def accuracy(self, first: int, last: int) -> tuple[float, float, float] | None:
        """Share of right pairs by labels, with its 95 % interval; None where no label is known."""
        known = float(self.known[first : last + 1].sum())
        if first > last or not known:
            return None
        share = float(self.right[first : last + 1].sum()) / known
        of = trials(known, float(self.squares[first, last]))
        return share, *wilson(share * of, of)

    def curve(self, width: float = 0.01) -> list[dict[str, float | int | None]]:
        """The threshold curve: one row for each `width` of similarity."""
        rows = []
        for low in np.arange(round(self.edges[0] / width), round(1 / width)) * width:
            first, last = self.bins(low, low + width)
            names = ("accuracy", "accuracy_low", "accuracy_high")
            values = self.accuracy(first, last) or (None, None, None)
            rounded = (None if value is None else round(value, 6) for value in values)
            rows.append(
                {
                    "similarity": round(float(low), 6),
                    "pairs": round(self.count(first, last)),
                    **dict(zip(names, rounded, strict=True)),
                    "judged": round(float(self.known[first : last + 1].sum())),
                }
            )
        return rows


def bins_of(similarity: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(M,) the bin of each float32, as a threshold takes it: an edge belongs to the bin that starts
    there; -1 below the first. 1 is in the last."""
    limits = edges.astype(np.float32)  # as thresholds are compared
    bins = np.searchsorted(limits, similarity, "right") - 1
    return np.minimum(bins, len(edges) - 2)


def write_explored(folder: Path, explored: Explored) -> None:
    size = len(explored.pairs)
    first, last = np.triu_indices(size)
    tables = {
        "pairs": (explored.shown, PAIRS),
        "bins": (
            pa.table(
                [explored.edges[:-1], explored.pairs, explored.known, explored.right], schema=BINS
            ),
            BINS,
        ),
        "intervals": (
            pa.table(
                [
                    first.astype(np.int32),
                    last.astype(np.int32),
                    explored.covered[first, last],
                    explored.squares[first, last],
                ],
                schema=INTERVALS,
            ),
            INTERVALS,
        ),
    }
    with artifacts.atomic(folder) as partial:
        for name, (table, schema) in tables.items():
            artifacts.write_parquet(partial / f"{name}.parquet", table, schema, explored.about)


def read_explored(folder: Path) -> Explored:
    """Raises ArtifactError where it is missing or of another shape."""
    schemas = {"pairs": PAIRS, "bins": BINS, "intervals": INTERVALS}
    tables = {
        name: artifacts.read_parquet(folder / f"{name}.parquet", schema, "explore")
        for name, schema in schemas.items()
    }
    low, pairs, known, right = (column.to_numpy() for column in tables["bins"].columns)
    first, last, *values = (column.to_numpy() for column in tables["intervals"].columns)
    covered, squares = np.zeros((2, len(low), len(low)))
    for square, numbers in zip((covered, squares), values, strict=True):
        square[first, last] = numbers
    about = artifacts.metadata(tables["bins"])
    edges = np.append(low, 1.0)
    return Explored(edges, pairs, known, right, covered, squares, tables["pairs"], about)
