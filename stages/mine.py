"""Find the semantic pairs: images whose embeddings have a similarity in [sepp.min, sepp.max].

Reads the embeddings of K training images and, to measure accuracy only, the labels in the
manifest. Writes the pairs (the paper's semantic positive pairs set), their metrics, and the
threshold curve from which a person chooses sepp.min and sepp.max.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from stages.common import artifacts
from stages.common.command import command, params_option
from stages.common.errors import ArtifactError, ParamError, SeppError
from stages.common.params import Seed, SeppMining, StageParams
from stages.common.unit import unit_rows
from stages.mining import Pairs, join, pair_blocks
from stages.mining.advice import advise
from stages.mining.caps import cap_pairs
from stages.mining.curve import threshold_curve
from stages.mining.estimate import expected_pairs
from stages.mining.quality import describe
from stages.mining.recall import measure_recall

logger = logging.getLogger(__name__)
MOST = 10**9  # pairs; in a file they take about 10 bytes each, and a training reads them all
ROW_GROUP = 2**20  # pairs that are written at a time


@dataclass(frozen=True)
class Inputs:
    manifest: Path = Path("data/manifest.parquet")
    embeddings: Path = Path("data/embeddings.parquet")


@dataclass(frozen=True)
class Outputs:
    pairs: Path = Path("data/pairs.parquet")
    metrics: Path = Path("reports/metrics/mine.json")
    curve: Path = Path("reports/plots/thresholds.csv")


class Params(StageParams):
    seed: Seed
    sepp: SeppMining


def run(params: Params, inputs: Inputs, outputs: Outputs) -> None:
    """Raises SeppError if no pair is found or far too many are to be expected, ArtifactError or
    EmbeddingError for unfit inputs."""
    sepp = params.sepp
    memory = int(sepp.memory * 2**30) // 2  # of the rows, and of all else
    with _scratch(outputs.pairs.parent / ".mine") as scratch:
        ids, x = read_embeddings(inputs.embeddings, memory, scratch)
        labels, train = read_labels(inputs, ids)
        # Before the pairs, since it is most needed where there are none, or too many.
        artifacts.write_csv(outputs.curve, threshold_curve(x, labels, params.seed))
        check_count(x, params, memory, outputs.curve)
        found = scratch / "pairs.parquet"
        blocks = pair_blocks(x, sepp.min, sepp.max, sepp.engine, memory, scratch)
        if not write_pairs(found, blocks, ids, sepp):
            logger.info("no pair: looking for the nearest")
            advice = advise(x, sepp.min, sepp.max, sepp.engine, memory, scratch)
            raise SeppError(f"{inputs.embeddings}: {advice} (see {outputs.curve})")
        recall = None
        if sepp.engine == "ivf":
            recall = measure_recall(x, read_pairs(found, ids), sepp.min, sepp.max, params.seed)
        if sepp.max_per_anchor is None and sepp.max_pairs is None:
            os.replace(found, outputs.pairs)
        else:
            limits = (sepp.max_per_anchor, sepp.max_pairs, params.seed)
            kept = cap_pairs(lambda: read_pairs(found, ids), len(ids), *limits)
            write_pairs(outputs.pairs, _chosen(read_pairs(found, ids), kept), ids, sepp)
    metrics = describe(read_pairs(outputs.pairs, ids), labels)
    if recall:
        metrics["recall"] = recall
    artifacts.write_json(outputs.metrics, metrics)
    say(metrics, sepp, train)


def say(metrics: dict, sepp: SeppMining, train: int) -> None:
    """Log what was found, and warn of pairs that are wrong or many; `train` is the number of
    training images."""
    count, accuracy, chance = (metrics[key] for key in ("count", "accuracy", "chance"))
    right = "unknown"
    if accuracy is not None:
        low, high = metrics["accuracy_low"], metrics["accuracy_high"]
        right = f"{accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}; by chance {chance:.1%})"
    interval = f"[{sepp.min}, {sepp.max}]"
    images = f"{metrics['images']:,} images"
    logger.info("%s pairs of %s in %s, accuracy %s", f"{count:,}", images, interval, right)
    if accuracy is not None and low <= chance:
        remedy = "raise sepp.min, or train the sampler longer"
        logger.warning("these pairs are no better than chance: %s", remedy)
    if count > train:
        logger.warning(
            "%.3g semantic pairs per training image: an epoch over an arm's rows takes %.3g times "
            "vanilla's steps, and with pretrain.match_steps: true each image is seen beside itself "
            "%.3g times less often; raise sepp.min, or cap the pairs with sepp.max_per_anchor",
            *(count / train, 1 + count / train, 1 + count / train),
        )


def check_count(x: np.ndarray, params: Params, memory: int, curve: Path) -> None:
    """Raises ParamError if a sample tells of more pairs than can be handled."""
    sepp = params.sepp
    expected = expected_pairs(x, sepp.min, sepp.max, params.seed)
    most = MOST if sepp.max_per_anchor is None and sepp.max_pairs is None else min(MOST, memory)
    if expected > most:
        remedy = "raise it, or lower embed.k" + ", or raise sepp.memory" * (most < MOST)
        raise ParamError(
            Path("params.yaml"),
            "sepp.min",
            f"{sepp.min}: about {expected:,.0f} pairs of {len(x):,} images lie in "
            f"[{sepp.min}, {sepp.max}], above {most:,}; {remedy} (see {curve})",
        )


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """`folder`, empty; it is gone afterwards, whatever happened, or else with the next run."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = Path(f"{folder}.lock")
    try:
        with FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)  # a file still mapped may resist on NFS
                lock.unlink(missing_ok=True)  # while it is held: FileLock sees that it is gone
    except Timeout:
        raise SeppError(f"{folder}: another mine runs here: wait for its end") from None


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


def read_labels(inputs: Inputs, ids: np.ndarray) -> tuple[np.ndarray, int]:
    """(K,) int32 labels of the embedded images, -1 = none; and how many images there are to train
    on, embedded or not."""
    file = artifacts.open_parquet(inputs.manifest, artifacts.MANIFEST, "prepare")
    table = file.read(columns=["label", "split"])
    labels = table.column("label").to_numpy()  # row = id
    if len(ids) and not 0 <= ids[0] <= ids[-1] < len(labels):
        problem = f"names images that are not in {inputs.manifest}"
        raise ArtifactError(inputs.embeddings, problem, "embed")
    return labels[ids], pc.sum(pc.equal(table.column("split"), "train")).as_py() or 0


def write_pairs(path: Path, blocks: Iterator[Pairs], ids: np.ndarray, sepp: SeppMining) -> int:
    """Write pairs of rows, as pairs of image ids, in the same order as ids ascend; their count."""
    about = {"min": sepp.min, "max": sepp.max}
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


def _chosen(blocks: Iterator[Pairs], kept: np.ndarray) -> Iterator[Pairs]:
    start = 0
    for block in blocks:
        yield block.take(kept[start : start + len(block.anchor)])
        start += len(block.anchor)


@command
@params_option
def main(params_file: Path) -> None:
    """Find all pairs of embedded images with a similarity in [sepp.min, sepp.max].

    Writes data/pairs.parquet, reports/metrics/mine.json (count, accuracy, balance) and
    reports/plots/thresholds.csv (pairs and accuracy per 0.01 of similarity).
    """
    run(Params.load(params_file), Inputs(), Outputs())


if __name__ == "__main__":
    main()
