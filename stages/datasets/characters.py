"""Handwritten characters of five alphabets (Omniglot, Lake et al. 2015), shipped with the package.

136 classes; drawers 1 to 15 train, 16 to 20 test, so that nobody's hand is on both sides.
"""

from __future__ import annotations

from pathlib import Path

from stages.datasets import Dataset
from stages.datasets._characters import make_dataset, read_table


def read(root: Path) -> Dataset:
    """2,040 images to train on and 680 to test."""
    return make_dataset({name: read_table(name) for name in ("train", "test")})
