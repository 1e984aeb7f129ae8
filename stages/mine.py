"""Find the semantic pairs: images whose embeddings have a similarity in [sepp.min, sepp.max].

Reads the embeddings of K training images and, to measure accuracy only, the labels in the
manifest. Writes the pairs (the paper's semantic positive pairs set), their metrics, and the
threshold curve from which a person chooses sepp.min and sepp.max.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.common import artifacts
from stages.common.command import command, params_option
from stages.common.errors import ArtifactError, SeppError
from stages.common.params import Seed, SeppMining, StageParams
from stages.common.unit import unit_rows
from stages.mining import Pairs, find_pairs
from stages.mining.advice import advise
from stages.mining.caps import cap_pairs
from stages.mining.curve import threshold_curve
from stages.mining.quality import describe

logger = logging.getLogger(__name__)


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
    """Raises SeppError if no pair is found, ArtifactError or EmbeddingError for unfit inputs."""
    sepp = params.sepp
    ids, x = read_embeddings(inputs.embeddings)
    labels = read_labels(inputs, ids)
    x = unit_rows(x, ids, inputs.embeddings)
    # Before the pairs, since it is most needed where there are none.
    artifacts.write_csv(outputs.curve, threshold_curve(x, labels, params.seed))
    pairs = find_pairs(x, sepp.min, sepp.max, sepp.engine)
    if len(pairs.anchor) == 0:
        advice = advise(x, sepp.min, sepp.max, sepp.engine)
        raise SeppError(f"{inputs.embeddings}: {advice} (see {outputs.curve})")
    rng = np.random.default_rng(params.seed)
    pairs = cap_pairs(pairs, sepp.max_per_anchor, sepp.max_pairs, rng)
    write_pairs(outputs.pairs, pairs, ids, sepp)
    metrics = describe(pairs, labels)
    artifacts.write_json(outputs.metrics, metrics)
    accuracy = "unknown" if metrics["accuracy"] is None else f"{metrics['accuracy']:.2%}"
    logger.info(
        "%s pairs of %s images in [%s, %s], accuracy %s",
        *(f"{metrics['count']:,}", f"{len(ids):,}", sepp.min, sepp.max, accuracy),
    )


def read_embeddings(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(K,) int64 ids, ascending, and (K, D) float32 embeddings; no copy if in one row group."""
    file = artifacts.open_parquet(path, None, "embed")
    schema = file.schema_arrow
    kind = schema.field("embedding").type if "embedding" in schema.names else pa.null()
    dim = kind.list_size if pa.types.is_fixed_size_list(kind) else 0
    if not schema.equals(artifacts.embeddings_schema(dim), check_metadata=False):
        raise ArtifactError(path, "has other columns than id and embedding", "embed")
    ids = file.read(columns=["id"]).column("id").to_numpy()
    if (np.diff(ids) <= 0).any():
        raise ArtifactError(path, "does not have ascending ids", "embed")
    chunks = (
        chunk
        for group in range(file.num_row_groups)
        for chunk in file.read_row_group(group, columns=["embedding"]).column("embedding").chunks
    )
    x, start = None, 0
    for chunk in chunks:
        values = chunk.flatten()
        if values.null_count or len(values) < len(chunk) * dim:
            raise ArtifactError(path, "has empty embeddings", "embed")
        rows = values.to_numpy().reshape(-1, dim)  # (B, D)
        if len(rows) == len(ids):
            return ids, rows
        x = np.empty((len(ids), dim), np.float32) if x is None else x
        x[start : start + len(rows)] = rows
        start += len(rows)
    return ids, np.empty((0, dim), np.float32) if x is None else x


def read_labels(inputs: Inputs, ids: np.ndarray) -> np.ndarray:
    """(K,) int32 labels of the embedded images, -1 = none."""
    file = artifacts.open_parquet(inputs.manifest, artifacts.MANIFEST, "prepare")
    labels = file.read(columns=["label"]).column("label").to_numpy()  # row = id
    if len(ids) and not 0 <= ids[0] <= ids[-1] < len(labels):
        problem = f"names images that are not in {inputs.manifest}"
        raise ArtifactError(inputs.embeddings, problem, "embed")
    return labels[ids]


def write_pairs(path: Path, pairs: Pairs, ids: np.ndarray, sepp: SeppMining) -> None:
    """`pairs` are of rows; the file's are of image ids, in the same order as ids ascend."""
    columns = [ids[pairs.anchor], ids[pairs.positive], pairs.similarity]
    table = pa.table(columns, schema=artifacts.PAIRS)
    about = {"min": sepp.min, "max": sepp.max, "engine": sepp.engine}
    artifacts.write_parquet(path, table, artifacts.PAIRS, about)


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
