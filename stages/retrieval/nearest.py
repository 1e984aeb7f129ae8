"""The images that are nearest to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common.unit import unit_rows


class Hit(NamedTuple):
    similarity: float  # cosine
    path: str
    label: str | None


def nearest(
    query: np.ndarray,
    blocks: Iterable[tuple[Sequence[str], Sequence[str | None], np.ndarray]],
    count: int,
    but: Path | None = None,
) -> list[Hit]:
    """The `count` most similar images, the most similar first; of equal ones the first in order.

    Args:
        query: (D,) features.
        blocks: paths, labels, and (B, D) features, of any length. One is in memory at a time.
        but: a file that is left out, under whatever path: the query itself.

    Raises:
        EmbeddingError: features without a direction.
    """
    query = unit_rows(query[None])[0]
    best: list[Hit] = []
    for paths, labels, features in blocks:
        similarities = unit_rows(features, np.array(paths, dtype=object)) @ query  # (B,)
        # One more than asked for, as the query may be among them.
        for row in np.argsort(-similarities, kind="stable")[: count + 1]:
            if but is None or not _same(paths[row], but):
                best.append(Hit(float(similarities[row]), paths[row], labels[row]))
        best = sorted(best, key=lambda hit: -hit.similarity)[:count]
    return best


def _same(path: str, file: Path) -> bool:
    return Path(path).name == file.name and Path(path).resolve() == file.resolve()
