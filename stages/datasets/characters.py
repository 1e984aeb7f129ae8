"""Handwritten characters of five alphabets (Omniglot, Lake et al. 2015), shipped with the package.

136 classes; drawers 1 to 15 train, 16 to 20 test, so that nobody's hand is on both sides.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from stages.datasets import Dataset, Split

FILES = Path(__file__).parent / "files" / "characters"
EDGE = 28  # pixels, of 105; the size at which these characters are usually learnt


def read(root: Path) -> Dataset:
    """2,040 images to train on and 680 to test, grey, white strokes on black."""
    splits = {name: pq.read_table(FILES / f"{name}.parquet") for name in ("train", "test")}
    return make_dataset(splits)


def make_dataset(splits: dict[str, pa.Table]) -> Dataset:
    """Tables with the columns of the files, by the name of their split."""
    names = {
        label: f"{Path(image['path']).parent}"
        for table in splits.values()
        for label, image in zip(*(table[c].to_pylist() for c in ("label", "image")), strict=True)
    }
    return Dataset(
        [Split(name, table["label"].to_numpy(), _pixels(table)) for name, table in splits.items()],
        [names[label] for label in sorted(names)],
    )


def _pixels(table: pa.Table) -> np.ndarray:  # (N, EDGE, EDGE, 3) uint8
    images = [Image.open(io.BytesIO(image["bytes"])) for image in table["image"].to_pylist()]
    small = [image.convert("L").resize((EDGE, EDGE), Image.Resampling.BOX) for image in images]
    # White on black: what lies outside of an image then looks like its background.
    return np.repeat(255 - np.stack(small)[..., None], 3, axis=3)
