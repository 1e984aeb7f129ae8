"""What mining reads and writes: embeddings, labels, pairs; in blocks, since none needs to fit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.common import artifacts
from stages.common.errors import ArtifactError
from stages.common.pairs import Pairs, join
from stages.common.sepp_sections import SeppScore
from stages.common.unit import unit_rows

logger = logging.getLogger(__name__)
ROW_GROUP = 2**20  # pairs that are written at a time


def read_embeddings(path: Path, memory: int, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """(K,) int64 ids, ascending, and (K, D) float32 unit rows.

    Where the rows take more than `memory` bytes they are a memory-mapped file in `scratch`.
    """
    file = artifacts.open_parquet(path, None, "embed")
    schema = file.schema_arrow
    kind = schema.field("embedding").type if "embedding" in schema.names else pa.null()
    dim = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
    if not schema.equals(artifacts.embeddings_schema(dim), check_metadata=False):
        raise ArtifactError(path, "has other columns than id and embedding", "embed")
    ids = file.read(columns=["id"]).column("id").to_numpy()
    if (np.diff(ids) <= 0).any():
        raise ArtifactError(path, "does not have ascending ids", "embed")
    x = _empty(len(ids), dim, memory, scratch)
    if isinstance(x, np.memmap):
        logger.info("%s: does not fit in sepp.memory, so it is read from the disk", path)
    start = 0
    for batch in file.iter_batches(batch_size=2**14, columns=["embedding"]):
        values = batch.column("embedding").flatten()
        if values.null_count or len(values) < len(batch) * dim:
            raise ArtifactError(path, "has empty embeddings", "embed")
        stop = start + len(batch)
        x[start:stop] = unit_rows(values.to_numpy().reshape(-1, dim), ids[start:stop], path)
        start = stop
    return ids, x


def score_origin(path: Path, sepp: SeppScore) -> dict[str, object]:
    """What similarities by `sepp` of the embeddings at `path` are of."""
    leaves = ("transform", "shrinkage", "neighbours")
    return {**embeddings_origin(path), **{leaf: getattr(sepp, leaf) for leaf in leaves}}


def embeddings_origin(path: Path) -> dict[str, object]:
    """What embeddings are of: the encoder's digest, the layer, how many views, how many images and
    the seed that drew them; as far as known."""
    about = artifacts.metadata(artifacts.open_parquet(path, None, "embed").schema_arrow)
    return {key: about[key] for key in ("encoder", "layer", "views", "k", "seed") if key in about}


def _empty(rows: int, dim: int, memory: int, scratch: Path) -> np.ndarray:
    """(rows, dim) float32, a file of `scratch` if they take more than `memory` bytes."""
    if 4 * rows * dim <= memory:
        return np.empty((rows, dim), np.float32)
    file = scratch / "rows"
    with file.open("wb") as stream:
        if hasattr(os, "posix_fallocate"):  # where it is missing a full disk is a bus error
            os.posix_fallocate(stream.fileno(), 0, 4 * rows * dim)
        else:
            stream.truncate(4 * rows * dim)
    return np.memmap(file, np.float32, "r+", shape=(rows, dim))


def read_labels(manifest: Path, ids: np.ndarray, source: Path) -> tuple[np.ndarray, int]:
    """(K,) int32 labels of the embedded images, -1 = none; and how many images there are to train
    on, embedded or not. `source` is where the ids are from, for messages."""
    file = artifacts.open_parquet(manifest, artifacts.MANIFEST, "prepare")
    table = file.read(columns=["label", "split"])
    labels = table.column("label").to_numpy()  # row = id
    if len(ids) and not 0 <= ids[0] <= ids[-1] < len(labels):
        problem = f"names images that are not in {manifest}"
        raise ArtifactError(source, problem, "embed")
    return labels[ids], pc.sum(pc.equal(table.column("split"), "train")).as_py() or 0


def write_pairs(
    path: Path, blocks: Iterable[Pairs], ids: np.ndarray, about: dict[str, object]
) -> int:
    """Write pairs of rows, as pairs of image ids, in the same order as ids ascend; their count."""
    held, count = join([]), 0
    with artifacts.parquet_writer(path, artifacts.PAIRS, about) as writer:

        def write(pairs: Pairs) -> None:
            columns = [ids[pairs.anchor], ids[pairs.positive], pairs.similarity]
            writer.write_table(pa.table(columns, schema=writer.schema))

        for block in blocks:
            held = join([held, block])
            count += len(block.anchor)
            # Whole row groups, so that the file does not depend on how the blocks were cut.
            while len(held.anchor) >= ROW_GROUP:
                write(held.take(slice(ROW_GROUP)))
                held = held.take(slice(ROW_GROUP, None))
        if len(held.anchor) or not count:
            write(held)
    return count


def read_pairs(path: Path, ids: np.ndarray) -> Iterator[Pairs]:
    """The pairs of rows that `write_pairs` wrote, in blocks."""
    file = pq.ParquetFile(path, pre_buffer=False)  # else all of it is held
    for batch in file.iter_batches(ROW_GROUP):
        anchor, positive, similarity = (column.to_numpy() for column in batch.columns)
        yield Pairs(np.searchsorted(ids, anchor), np.searchsorted(ids, positive), similarity)
