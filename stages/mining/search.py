"""From embeddings and the section `sepp` to a file of pairs: by a threshold, or by their number."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from stages.common.errors import ParamError
from stages.common.sepp_sections import SeppMining, SeppScore
from stages.mining.cosine import Cosine
from stages.mining.files import read_pairs, write_pairs
from stages.mining.graph import memory_needed
from stages.mining.top import highest
from stages.mining.walk import Walk

logger = logging.getLogger(__name__)
MOST = 10**9  # pairs; in a file they take about 10 bytes each, and a training reads them all
SPARE = 1.1  # times as many pairs as are wanted are aimed at, since counts are estimates
LOWER = 0.01  # of similarity, if they were too few all the same


def similarity_of(
    x: np.ndarray, sepp: SeppScore, seed: int, memory: int, scratch: Path, engine: str = "auto"
) -> Cosine | Walk:
    """The score of `sepp` over x (N, D), unit rows, transformed already; `memory` in bytes.

    Raises ParamError if walks do not fit in that.
    """
    if sepp.neighbours:
        check_walks(len(x), sepp, memory)
        return Walk(x, sepp.neighbours, memory)
    return Cosine(x, seed, engine, memory, scratch)


def check_walks(rows: int, sepp: SeppScore, memory: int) -> None:
    """Raises ParamError if the graph that is walked over cannot be held in `memory` bytes."""
    needed = memory_needed(rows, sepp.neighbours) if sepp.neighbours else 0
    if needed > memory:
        raise ParamError(
            Path("params.yaml"),
            "sepp.neighbours",
            f"{sepp.neighbours}: walks over {rows:,} images take {2 * needed / 2**30:.2f} GiB, "
            f"above sepp.memory {sepp.memory:g}: raise that, or lower sepp.neighbours or embed.k",
        )


def wanted(pairs_per_image: float, images: int) -> int:
    """How many pairs so many an image are."""
    return max(1, round(pairs_per_image * images))


def find(
    score: Cosine | Walk,
    ids: np.ndarray,
    sepp: SeppMining,
    path: Path,
    origin: dict[str, object] | None = None,
) -> float | None:
    """Write all pairs in the interval, or the `pairs_per_image` * K highest below its upper end, to
    `path`; the lowest similarity that pairs may have, or None if there is no pair.

    `ids` (K,) are those of the images. The file says what the interval was, and its `origin`.
    """
    if sepp.pairs_per_image is None:
        about = {"min": sepp.min, "max": sepp.max, "pairs_per_image": None, **(origin or {})}
        return sepp.min if write_pairs(path, score.blocks(sepp.min, sepp.max), ids, about) else None
    count = wanted(sepp.pairs_per_image, len(ids))
    low, found = score.threshold(SPARE * count, sepp.max), 0
    while True:
        low = min(low, sepp.max)
        check_alike(score, low, sepp)
        found = write_pairs(path, score.blocks(low, sepp.max), ids, {})
        if found >= count or low <= score.lowest:
            break
        low = max(score.lowest, low - LOWER)  # the estimate was too high
    if found < count:
        logger.warning(
            "sepp.pairs_per_image %g: there are only %s pairs", sepp.pairs_per_image, f"{found:,}"
        )
    if not found:
        return None
    wider = path.with_name("wider.parquet")
    os.replace(path, wider)
    write_pairs(path, highest(lambda: read_pairs(wider, ids), count), ids, {})
    return float(min(pairs.similarity.min() for pairs in read_pairs(path, ids)))


def check_alike(score: Cosine | Walk, low: float, sepp: SeppMining) -> None:
    """Raises ParamError if far more pairs than are wanted are as similar as the last of them."""
    expected = score.expected(low, sepp.max)
    if expected > MOST:
        raise ParamError(
            Path("params.yaml"),
            "sepp.pairs_per_image",
            f"{sepp.pairs_per_image}: about {expected:,.0f} pairs are so alike, above {MOST:,}: "
            "lower sepp.max or embed.k, or train the sampler longer",
        )
