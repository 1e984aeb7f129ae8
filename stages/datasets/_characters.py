"""Handwritten characters of five alphabets (Omniglot, Lake et al. 2015), in the package."""

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


def read_table(name: str) -> pa.Table:
    """The file `name`: image, label, alphabet and drawer of each image."""
    return pq.read_table(FILES / f"{name}.parquet")


def make_dataset(splits: dict[str, pa.Table]) -> Dataset:
    """Tables as `read_table` gives them, by the name of their split; white strokes on black."""
    names = {
        label: _name(image["path"])
        for table in splits.values()
        for label, image in zip(*(table[c].to_pylist() for c in ("label", "image")), strict=True)
    }
    return Dataset(
        [Split(name, table["label"].to_numpy(), _pixels(table)) for name, table in splits.items()],
        [names[label] for label in sorted(names)],
    )


def _name(path: str) -> str:
    """Balinese 1, of Balinese/character01/0108_01.png."""
    alphabet, character, _ = path.split("/")
    return f"{alphabet.replace('_', ' ')} {int(character.removeprefix('character'))}"


def _pixels(table: pa.Table) -> np.ndarray:  # (N, EDGE, EDGE, 3) uint8
    images = [Image.open(io.BytesIO(image["bytes"])) for image in table["image"].to_pylist()]
    small = [image.convert("L").resize((EDGE, EDGE), Image.Resampling.BOX) for image in images]
    # White on black: what lies outside of an image then looks like its background.
    return np.repeat(255 - np.stack(small)[..., None], 3, axis=3)
