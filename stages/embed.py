"""Embed K training images with the sampler: un-augmented (Algorithm 1, lines 3 to 8), or as the
mean over each image and random views of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.common import artifacts, sections
from stages.common.command import command, params_option
from stages.common.cost import cost_path, measured
from stages.common.errors import ParamError, SeppError
from stages.common.images import ImageStore
from stages.common.params import StageParams
from stages.common.rounds import Again, From, again_options, from_options
from stages.common.sections import Seed, Views
from stages.common.unedited import unedited
from stages.common.unit import unit_rows
from stages.ssl.encoder import Encoder, weights_digest
from stages.ssl.inference import RandomEmbeddings, encode

log = logging.getLogger(__name__)
ROW_GROUP = 65_536  # rows held in memory before they are written


@dataclass(frozen=True)
class Inputs:
    manifest: Path = Path("data/manifest.parquet")
    images: Path = Path("data/images.npy")
    encoder: Path = Path("models/sampler")

    @classmethod
    def again(cls, origin: From, seed: int) -> Inputs:
        return cls(encoder=origin.encoder(seed))


@dataclass(frozen=True)
class Outputs:
    embeddings: Path = Path("data/embeddings.parquet")
    cost: Path = cost_path("embed")

    @classmethod
    def again(cls, again: Again) -> Outputs:
        return cls(again.folder / "embeddings.parquet", cost_path("embed", again.item))


class Params(StageParams):
    seed: Seed
    views: Views  # of which embed.views are averaged with the image itself
    embed: sections.Embed


def subset(ids: np.ndarray, k: int | float, seed: int) -> np.ndarray:
    """K of `ids` at random without replacement, ascending.

    Args:
        ids: (N,) int64.
        k: a fraction of N if a float (rounded, at least 1), a count if an int.

    Raises:
        ParamError: a count above N.
    """
    count = max(1, round(k * len(ids))) if isinstance(k, float) else k
    if count > len(ids):
        raise ParamError(
            "params.yaml", "embed.k", f"{count} is above the {len(ids)} training images: lower it"
        )
    return np.sort(np.random.default_rng(seed).choice(ids, count, replace=False))


def run(settings: Params, inputs: Inputs, outputs: Outputs) -> int:
    """One pass over the subset; memory holds one row group of embeddings, whatever K. Returns K."""
    store = ImageStore(inputs.manifest, inputs.images)
    ids = subset(store.select("train"), settings.embed.k, settings.seed)
    encoder = Encoder.load(inputs.encoder)
    layer = settings.embed.layer
    dim = encoder.dim(layer)
    about = {
        "d": dim,
        "layer": layer,
        "k": len(ids),
        "views": settings.embed.views,
        "seed": settings.seed,
        "encoder": weights_digest(encoder),
    }
    schema = artifacts.embeddings_schema(dim)
    with artifacts.parquet_writer(outputs.embeddings, schema, about) as writer:
        blocks: list[tuple[np.ndarray, np.ndarray]] = []

        def flush() -> None:
            rows = pa.array(np.concatenate([ids for ids, _ in blocks]))
            flat = pa.array(np.concatenate([x.reshape(-1) for _, x in blocks]))
            lists = pa.FixedSizeListArray.from_arrays(flat, dim)
            writer.write_table(pa.Table.from_arrays([rows, lists], schema=writer.schema))
            blocks.clear()

        size = settings.embed.batch_size
        views = RandomEmbeddings(settings.views, (settings.embed.views,), settings.seed)
        for batch, features in encode(encoder, store, ids, layer, size, "embed", views):
            blocks.append((batch, unit_rows(features, batch, inputs.encoder)))
            if sum(len(b) for b, _ in blocks) >= ROW_GROUP:
                flush()
        if blocks:
            flush()
    log.info("embed: %d images, %d dimensions (%s)", len(ids), dim, layer)
    return len(ids)


@command
@params_option
@again_options
@from_options
def main(params_file: Path, again: Again | None, origin: From | None) -> None:
    """Embed a random K-subset of the training images, un-augmented, with the sampler.

    Reads models/sampler; writes data/embeddings.parquet: id and an L2-normalised float32 vector.
    embed.k is a fraction (0.1) or a count (5000). A round embeds with what another arm, or round,
    had become at an epoch: `--round round2 --seed 0 --start sepp --at 40`.
    """
    if (again is None) != (origin is None):
        raise SeppError("--round and --start go together: give both, or neither")
    inputs = Inputs.again(origin, again.seed) if again else Inputs()
    outputs = Outputs.again(again) if again else Outputs()
    current = partial(Params.load, params_file)
    reading = unedited("stages.embed", current, vars(inputs).values())
    with measured(outputs.cost) as cost, reading:
        cost.images = run(Params.load(params_file), inputs, outputs)


if __name__ == "__main__":
    main()
