"""Compare scores by the pairs that they find with the sampler at hand: trains nothing."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np

from stages import embed
from stages.common import scores
from stages.common.command import command, params_option
from stages.common.errors import ArtifactError, SeppError
from stages.common.images import ImageStore
from stages.common.intervals import chance_accuracy
from stages.common.judged import read_answers, resolve
from stages.common.pairs import Pairs
from stages.common.progress import Progress
from stages.common.sepp_sections import SeppMining
from stages.common.unit import unit_rows
from stages.mining.quality import describe, judged
from stages.mining.scores import Judge, Settings, measure, pairs_by_score, scores_of
from stages.mining.scratch import scratch_folder
from stages.reporting.score_table import print_scores
from stages.ssl.encoder import Encoder, weights_digest
from stages.ssl.inference import RandomEmbeddings, encode_each

log = logging.getLogger(__name__)


class Params(embed.Params):
    sepp: SeppMining


class Counts(click.ParamType):
    name = "numbers"

    def convert(
        self, value: str, param: click.Parameter | None, context: click.Context | None
    ) -> list[int]:
        if not all(part.strip().isdecimal() for part in value.split(",")):
            self.fail(f"{value!r}: needs numbers of views with commas between, e.g. 0,2,8", param)
        return [int(part) for part in value.split(",")]


def run(params: Params, inputs: embed.Inputs, views: list[int]) -> scores.Comparison:
    """All scores of the encoder at hand, with 0, `embed.views` and `views` random views.

    Memory: (K, D) float32 of every layer and number of views, and the largest of them once more.
    Raises ArtifactError where images or the encoder are missing, EmbeddingError for an encoder
    without directions, SeppError for fewer than two images.
    """
    store = ImageStore(inputs.manifest, inputs.images)
    if not inputs.encoder.exists():
        raise ArtifactError(inputs.encoder, "is missing", "sampler")
    encoder = Encoder.load(inputs.encoder)
    ids = embed.subset(store.select("train"), params.embed.k, params.seed)
    if len(ids) < 2:
        raise SeppError(f"params.yaml: embed.k: {len(ids)} image, and a pair needs two: raise it")
    counts = tuple(sorted({0, params.embed.views, *views}))
    embeddings, own = _embed(encoder, store, ids, params, counts, inputs.encoder)
    judge, answers = _judge(store, ids)
    table: dict[scores.Score, dict[float, scores.Row]] = {}
    first: Pairs | None = None
    with scratch_folder(inputs.manifest.parent / ".scores") as scratch:
        settings = Settings(params.sepp, params.seed, scratch)
        found = pairs_by_score(embeddings, ids, settings, inputs.encoder)
        with Progress("scores", total := scores_of(embeddings), "scores") as progress:
            for _ in range(total):
                with _quiet():
                    score, pairs = next(found)
                first = first or pairs  # the paper's, where there is a projection
                table[score] = measure(pairs, first, len(ids), judge)
                progress.advance()
    chance = chance_accuracy(store.labels[ids])
    about = {
        "data": store.name,
        "encoder": weights_digest(encoder),
        "k": len(ids),
        "seed": params.seed,
        "shrinkage": params.sepp.shrinkage,
        "neighbours": settings.neighbours,
        "chance": None if chance is None else round(chance, 6),
        "own_views": own,
        "answers": answers,
    }
    return scores.Comparison(table, about)


def _judge(store: ImageStore, ids: np.ndarray) -> tuple[Judge, int]:
    """What tells how right pairs are: labels, or, where there are none, the pairs that people have
    judged, and how many these are."""
    plain = partial(describe, labels=store.labels[ids])
    if (store.labels[ids] >= 0).any():
        return plain, 0
    verdicts = resolve(read_answers(), store)

    def judge(blocks: Iterable[Pairs]) -> dict[str, object]:
        pairs = list(blocks)
        return plain(pairs) | judged(pairs, ids, verdicts, any_score=True)

    return judge, len(verdicts.same)


def _embed(
    encoder: Encoder,
    store: ImageStore,
    ids: np.ndarray,
    params: Params,
    counts: tuple[int, ...],
    source: Path,
) -> tuple[dict[tuple[str, int], np.ndarray], dict[str, float]]:
    """(K, D) unit rows by layer and number of views, those that `embed` would write; and by layer
    the mean cosine of an image and its random views."""
    layers = [x for x in ("projection", "backbone") if x == "backbone" or encoder.config.projection]
    rows = {
        (layer, n): np.empty((len(ids), encoder.dim(layer)), np.float32)
        for layer in layers
        for n in counts
    }
    held = sum(x.nbytes for x in rows.values()) / 2**30
    listed = ", ".join(map(str, counts))
    log.info("%s images, %s; %s views: %.2g GiB", f"{len(ids):,}", "+".join(layers), listed, held)
    views, most, start = RandomEmbeddings(params.views, counts, params.seed), max(counts), 0
    own = dict.fromkeys(layers, 0.0)
    size = params.embed.batch_size
    for batch, features in encode_each(encoder, store, ids, layers, size, "embed", views):
        stop = start + len(batch)
        for key, x in features.items():
            rows[key][start:stop] = unit_rows(x, batch, source)
        for layer in layers if most else ():
            # The mean over image and views holds the views' sum, if not made unit yet.
            cosines = (rows[layer, 0][start:stop] * features[layer, most]).sum(1, dtype=np.float64)
            own[layer] += float(((most + 1) * cosines - 1).sum()) / most
        start = stop
    return rows, {layer: round(x / len(ids), 6) for layer, x in own.items()} if most else {}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what each of many searches has to say of itself."""
    logger = logging.getLogger("stages.mining")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


@command
@params_option
@click.option(
    "--views",
    type=Counts(),
    default="0,2,8",
    show_default=True,
    help="Numbers of random views averaged with each image; 0 and embed.views are always tried.",
)
def main(params_file: Path, views: list[int]) -> None:
    """Compare scores by the pairs that they find with the sampler at hand; trains nothing.

    Embeds the K images once, and takes the most similar pairs by each score: layer, transform,
    random views, highest cosines or walks. Prints how many have equal labels, at several pairs an
    image; writes reports/scores.csv, which `dvc repro report` shows. sepp.max counts as 1.
    """
    params = Params.load(params_file)
    comparison = run(params, embed.Inputs(), views)
    scores.write_scores(comparison)
    chosen = {
        "layer": params.embed.layer,
        "transform": params.sepp.transform,
        "views": params.embed.views,
        "neighbours": params.sepp.neighbours,
    }
    print_scores(comparison, scores.current(chosen, comparison.about))
