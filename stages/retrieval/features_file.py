"""Features as a Parquet file: path, embedding, label; and whose features they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.common import artifacts
from stages.common.errors import DataError
from stages.common.unit import unit_rows

if TYPE_CHECKING:  # it loads torch
    from stages.retrieval.embedding import Embedded

ROW_GROUP = 8_192  # rows in memory before they are written
COLUMNS = ("path", "embedding", "label")


class About(NamedTuple):
    """What the file's metadata says, as JSON."""

    encoder: str  # digest of the weights
    layer: str
    normalized: bool  # to unit length
    image_size: int  # pixels, of what the encoder was given


def write_features(path: Path, dim: int, about: About, blocks: Iterable[Embedded]) -> int:
    """Writes (N, `dim`) features in pieces; returns N. The same blocks give the same bytes."""
    embedding = pa.list_(pa.float32(), dim)
    schema = pa.schema(zip(COLUMNS, (pa.string(), embedding, pa.string()), strict=True))
    waiting: list[pa.Table] = []
    total = 0
    with artifacts.parquet_writer(path, schema, about._asdict()) as writer:
        for block in blocks:
            features = unit_rows(block.features) if about.normalized else block.features
            lists = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), dim)
            columns = [pa.array(block.paths), lists, pa.array(block.labels, pa.string())]
            waiting.append(pa.table(columns, schema=writer.schema))
            total += len(features)
            if sum(map(len, waiting)) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return total


def read_about(path: Path) -> About | None:
    """None where it is no file of features."""
    if not path.is_file():
        return None
    try:
        schema = pq.read_schema(path)
        return About(**artifacts.metadata(schema)) if tuple(schema.names) == COLUMNS else None
    except (pa.ArrowException, OSError, ValueError, TypeError):
        return None


def read_features(path: Path) -> Iterator[tuple[list[str], list[str | None], np.ndarray]]:
    """Blocks of paths, labels, and (B, D) float32 features, in their order.

    Raises:
        DataError: the file is damaged.
    """
    try:
        for batch in pq.ParquetFile(path, memory_map=True).iter_batches(ROW_GROUP):
            paths, embeddings, labels = batch.columns
            flat = embeddings.flatten().to_numpy(zero_copy_only=False)
            yield paths.to_pylist(), labels.to_pylist(), flat.reshape(len(batch), -1)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: does not read ({reason}); make it again") from None
