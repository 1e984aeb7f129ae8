"""What similarities there are, and how many pairs each interval of them would give.

Reads the embeddings of K training images and, to measure accuracy only, the labels in the manifest.
Writes counts for every interval of similarity with a sample of pairs, from which the report makes
the page where a person chooses sepp.min and sepp.max, and the threshold curve. None of it depends
on the thresholds in params.yaml: another one runs `mine` alone.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.common import artifacts
from stages.common.command import command, params_option
from stages.common.cost import cost_path, measured
from stages.common.explored import PAIRS, Explored, write_explored
from stages.common.intervals import chance_accuracy
from stages.common.pairs import Pairs
from stages.common.params import StageParams
from stages.common.sections import Seed
from stages.common.sepp_sections import SeppScore
from stages.common.unedited import unedited
from stages.mining.cosine import Cosine
from stages.mining.files import read_embeddings, read_labels, score_origin
from stages.mining.scratch import scratch_folder
from stages.mining.search import similarity_of
from stages.mining.tally import Tally
from stages.mining.transform import transform_rows
from stages.mining.walk import Walk

logger = logging.getLogger(__name__)
PER_IMAGE = 4  # pairs an image that the range reaches down to
USUAL = 0.80  # similarity that it reaches down to all the same, if that is not far too many pairs
MANY = 32  # pairs an image, which are
STEPS = (0.001, 0.0005, 0.0002, 0.0001)  # widths of a bin: the first that gives enough of them
WIDE = (0.002, 0.005, 0.01)  # where they would be too many: divisors of the curve's 0.01
ENOUGH, MOST = 50, 400  # bins


@dataclass(frozen=True)
class Inputs:
    manifest: Path = Path("data/manifest.parquet")
    embeddings: Path = Path("data/embeddings.parquet")


@dataclass(frozen=True)
class Outputs:
    explored: Path = Path("data/explored")
    curve: Path = Path("reports/plots/thresholds.csv")
    cost: Path = cost_path("explore")


class Params(StageParams):
    seed: Seed
    sepp: SeppScore


def run(params: Params, inputs: Inputs, outputs: Outputs) -> int:
    """Returns how many images there are.

    Raises ArtifactError or EmbeddingError for unfit inputs, ParamError if walks do not fit."""
    sepp = params.sepp
    memory = int(sepp.memory * 2**30) // 2  # of the rows, and of all else
    with scratch_folder(outputs.explored.parent / ".explore") as scratch:
        ids, x = read_embeddings(inputs.embeddings, memory, scratch)
        labels, train = read_labels(inputs.manifest, ids, inputs.embeddings)
        transform_rows(x, sepp.transform, sepp.shrinkage, ids, inputs.embeddings)
        score = similarity_of(x, sepp, params.seed, memory, scratch)
        explored = explore(score, labels, ids, params.seed)
    about = {**explored.about, "train": train, **score_origin(inputs.embeddings, sepp)}
    explored = replace(explored, about=about)
    write_explored(outputs.explored, explored)
    artifacts.write_csv(outputs.curve, explored.curve())
    how = "" if explored.exact else f" (estimated from {about['anchors']:,} of them)"
    logger.info(
        "%s pairs of %s images%s have a similarity of %g or more",
        f"{explored.pairs.sum():,.0f}",
        f"{len(ids):,}",
        how,
        explored.edges[0],
    )
    return len(ids)


def explore(score: Cosine | Walk, labels: np.ndarray, ids: np.ndarray, seed: int) -> Explored:
    """All but the origin of the embeddings; `labels` (K,), -1 = none, and `ids` (K,) of images."""
    rows = len(ids)
    edges = edges_of(lowest(score, rows))
    tally, anchors = Tally(edges, labels, seed), 0
    for block in score.partners(float(edges[0])):
        tally.add(block)
        anchors += len(block.anchors)
    scale = rows / anchors if anchors else 1.0
    sample, turn = tally.sample()
    shown = _table(sample, turn, ids)
    about = {
        "images": rows,
        "anchors": anchors,
        "chance": chance_accuracy(labels),
        "fingerprint": _fingerprint(shown),
    }
    # A pair is met from both of its images.
    counts = (scale / 2 * values for values in (tally.pairs, tally.known, tally.right))
    # Squared, so that an accuracy is as sure as the anchors' pairs make it, and not all pairs.
    squares = scale**2 * tally.squares
    return Explored(edges, *counts, scale * tally.covered, squares, shown, about)


def lowest(score: Cosine | Walk, rows: int) -> float:
    """Where the range begins: a multiple of 0.01."""
    needed = score.threshold(PER_IMAGE * rows, 1.0)
    low = min(USUAL, needed)
    if score.expected(low, 1.0) > MANY * rows:
        low = needed
    return max(0, np.floor(100 * low + 1e-6)) / 100 if low < 1 else 0.99


def edges_of(low: float) -> np.ndarray:
    """(B + 1,) edges of equal bins from `low`, or a little below, to 1."""
    step = next((s for s in STEPS if (1 - low) / s >= ENOUGH - 0.5), STEPS[-1])
    step = next(s for s in (step, *WIDE) if (1 - low) / s <= MOST + 0.5)
    count = int(np.ceil((1 - low) / step - 1e-6))
    return np.round(1 - step * np.arange(count, -1, -1), 6)


def _table(pairs: Pairs, turn: np.ndarray, ids: np.ndarray) -> pa.Table:
    columns = [ids[pairs.anchor], ids[pairs.positive], pairs.similarity, turn]
    return pa.table(columns, schema=PAIRS)


def _fingerprint(shown: pa.Table) -> str:
    """Tells whether answers were given to these pairs, or to those of another score."""
    digest = hashlib.sha256()
    for column in shown.columns:
        digest.update(column.to_numpy().tobytes())
    return digest.hexdigest()[:12]


@command
@params_option
def main(params_file: Path) -> None:
    """Count pairs by similarity, for every interval at once, and keep a few to look at.

    Writes data/explored and reports/plots/thresholds.csv (pairs and accuracy per 0.01).
    """
    inputs, outputs = Inputs(), Outputs()
    current = partial(Params.load, params_file)
    reading = unedited("stages.explore", current, vars(inputs).values())
    with measured(outputs.cost) as cost, reading:
        cost.images = run(Params.load(params_file), inputs, outputs)


if __name__ == "__main__":
    main()
