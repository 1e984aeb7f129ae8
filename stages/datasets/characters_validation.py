"""`characters` without its test images: a split of the training drawers on which settings are
chosen, so that the test drawers stay unseen until there is a result to report."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc

from stages.datasets import Dataset
from stages.datasets._characters import make_dataset, read_table

TRAIN_DRAWERS = 12  # of 15; the others test


def read(root: Path) -> Dataset:
    """1,632 images of drawers 1 to 12 to train on, 408 of drawers 13 to 15 to test."""
    table = read_table("train")
    first = pc.less_equal(table["drawer"], TRAIN_DRAWERS)
    return make_dataset({"train": table.filter(first), "test": table.filter(pc.invert(first))})
