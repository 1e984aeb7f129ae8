"""A test split made of training images, for a data set that has none."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from stages.common.errors import ParamError
from stages.datasets import Dataset, Split

log = logging.getLogger(__name__)


def with_test(
    dataset: Dataset, name: str, fraction: float, seed: int
) -> list[tuple[Split, np.ndarray]]:
    """The training images in two parts, those that train and those that test: each a split, and
    the rows (M,) of it that are used, ascending.

    Raises:
        ParamError: the data set has a test split of its own, or no labels to measure by.
    """
    train = dataset.splits[0]
    for own in (split for split in dataset.splits if split.name == "test"):
        if (own.labels >= 0).any():
            where = f" in {own.origin}" * bool(own.origin)
            _refuse(
                f"{fraction}, but {name} has a test split of its own, {len(own.labels):,} "
                f"images{where}: set it to null"
            )
        log.warning("%s: has no labels, so another test split takes its place", own.origin or name)
    known = np.flatnonzero(train.labels >= 0)
    if not len(known):
        _refuse(f"{fraction}, but {name} has no labels to measure a test by: set it to null")
    test = known[hold_out(train.labels[known], fraction, seed)]
    if not len(test):
        _refuse(f"{fraction}, but no class of {name} has two images: set it to null")
    alone = (np.unique(train.labels[known], return_counts=True)[1] == 1).sum()
    note = f"; {alone:,} classes of a single image are not tested" * bool(alone)
    counts = f"{len(test):,} of {len(known):,}"
    log.info("%s: %s training images with a label make the test split%s", name, counts, note)
    rest = np.setdiff1d(np.arange(len(train.labels)), test)
    return [(train, rest), (replace(train, name="test"), test)]


def _refuse(problem: str) -> None:
    raise ParamError("params.yaml", "data.split", problem)


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Rows (M,), ascending, of images with `labels` (N,) that are to test.

    As near to `fraction` of all as whole images come, and of each class in proportion: what is over
    goes to the largest remainders, equal ones by lot. But a class of two images or more has at
    least one on either side, and the only image of a class trains.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(labels, kind="stable")
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    exact = counts * fraction
    quota = np.floor(exact).astype(np.int64)
    over = int(fraction * len(labels) + 0.5) - quota.sum()
    lots = rng.permutation(len(counts))
    quota[lots[np.argsort((quota - exact)[lots], kind="stable")][:over]] += 1
    quota = np.clip(quota, np.minimum(1, counts - 1), counts - 1)
    drawn = [
        rng.choice(order[start : start + count], some, replace=False)
        for start, count, some in zip(first, counts, quota, strict=True)
    ]
    return np.sort(np.concatenate(drawn))
