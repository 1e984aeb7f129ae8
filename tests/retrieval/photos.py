"""Folders and Parquet files of images, and an encoder, for tests."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.heads import mlp


def picture(seed: int, width: int = 30, height: int = 24) -> Image.Image:
    few = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC)


def write_photos(folder: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path, "PNG")


def encoded(seed: int) -> bytes:
    stream = io.BytesIO()
    picture(seed).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(path: Path, labels: pa.Array, names: list[str] | None = None) -> None:
    """Images 0, 1, … in the hub's layout, three to a row group."""
    images = [{"bytes": encoded(seed), "path": None} for seed in range(len(labels))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, kind), "label": labels})
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        stored = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": stored})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)


def write_encoder(folder: Path, seed: int = 0, head: bool = True) -> Encoder:
    torch.manual_seed(seed)
    projection = mlp(64, 16, 4) if head else None
    config = EncoderConfig("resnet10-w8", "cifar", 8, (0.5,) * 3, (0.25,) * 3, projection)
    Encoder(config).save(folder)
    return Encoder.load(folder)
