"""Artefacts made by hand, for tests of one stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.common import artifacts
from stages.common.images import ImageStore


def write_manifest(path: Path, labels: np.ndarray) -> None:
    n = len(labels)
    columns = {
        "id": np.arange(n),
        "split": ["train"] * n,
        "label": labels,
        "path": pa.nulls(n, pa.string()),
        "offset": np.full(n, -1),
        "length": np.full(n, -1),
        "digest": [""] * n,
    }
    artifacts.write_parquet(path, pa.table(columns), artifacts.MANIFEST)


def write_embeddings(path: Path, ids: np.ndarray, x: np.ndarray, group: int = 10**6) -> None:
    schema = artifacts.embeddings_schema(x.shape[1])
    about = {"d": x.shape[1], "layer": "projection", "views": 0, "encoder": "5e"}
    with artifacts.parquet_writer(path, schema, about) as writer:
        for start in range(0, len(ids), group):
            rows = pa.FixedSizeListArray.from_arrays(
                pa.array(x[start : start + group].ravel()), x.shape[1]
            )
            columns = [pa.array(ids[start : start + group]), rows.cast(schema.field(1).type)]
            writer.write_table(pa.table(columns, schema=writer.schema))


def packed_store(folder: Path, pixels: np.ndarray) -> ImageStore:
    """Training images without labels, (N, H, W, 3) uint8."""
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder / "manifest.parquet", np.full(len(pixels), -1, np.int32))
    np.save(folder / "images.npy", pixels)
    return ImageStore(folder / "manifest.parquet", folder / "images.npy")
