"""Find the semantic pairs: images whose embeddings have a similarity in [sepp.min, sepp.max].

Reads the embeddings of K training images and, to measure accuracy only, the labels in the
manifest, or, where images have none, the pairs that people have judged. Writes the pairs (the
paper's semantic positive pairs set) and their metrics.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np

from stages.common import artifacts
from stages.common.command import command, params_option
from stages.common.cost import cost_path, measured
from stages.common.errors import ParamError, SeppError
from stages.common.images import ImageStore
from stages.common.judged import LABELS, Answer, read_answers, resolve
from stages.common.param_file import validate, yaml_value
from stages.common.params import StageParams
from stages.common.rounds import Again, again_options
from stages.common.sections import Seed
from stages.common.sepp_sections import MiningChanges, SeppMining
from stages.common.unedited import unedited
from stages.mining import Pairs
from stages.mining.advice import advise
from stages.mining.caps import cap_pairs
from stages.mining.cosine import Cosine
from stages.mining.files import (
    read_embeddings,
    read_labels,
    read_pairs,
    score_origin,
    write_pairs,
)
from stages.mining.quality import describe, judged
from stages.mining.recall import measure_recall
from stages.mining.scratch import scratch_folder
from stages.mining.search import MOST, find, similarity_of
from stages.mining.transform import transform_rows
from stages.mining.walk import Walk

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    manifest: Path = Path("data/manifest.parquet")
    embeddings: Path = Path("data/embeddings.parquet")
    images: Path = Path("data/images.npy")
    answers: Path = LABELS

    @classmethod
    def again(cls, again: Again) -> Inputs:
        return cls(embeddings=again.folder / "embeddings.parquet")


@dataclass(frozen=True)
class Outputs:
    pairs: Path = Path("data/pairs.parquet")
    metrics: Path = Path("reports/metrics/mine.json")
    cost: Path = cost_path("mine")

    @classmethod
    def again(cls, again: Again) -> Outputs:
        metrics = Path(f"reports/metrics/rounds/{again.item}.json")
        return cls(again.folder / "pairs.parquet", metrics, cost_path("mine", again.item))


class Params(StageParams):
    seed: Seed
    sepp: SeppMining


def run(params: Params, inputs: Inputs, outputs: Outputs) -> int:
    """Returns how many images were searched.

    Raises SeppError if no pair is found or far too many are to be expected, ArtifactError or
    EmbeddingError for unfit inputs."""
    sepp, answers = params.sepp, read_answers(inputs.answers)  # a mistake in them is told at once
    memory = int(sepp.memory * 2**30) // 2  # of the rows, and of all else
    with scratch_folder(outputs.pairs.parent / ".mine") as scratch:
        ids, x = read_embeddings(inputs.embeddings, memory, scratch)
        labels, train = read_labels(inputs.manifest, ids, inputs.embeddings)
        transform_rows(x, sepp.transform, sepp.shrinkage, ids, inputs.embeddings)
        score = similarity_of(x, sepp, params.seed, memory, scratch, sepp.engine)
        check_count(score, len(ids), sepp, memory)
        found = scratch / "pairs.parquet"
        origin = score_origin(inputs.embeddings, sepp)
        low = find(score, ids, sepp, found, origin)
        if low is None:
            logger.info("no pair: looking for the nearest")
            advice = advise(score, len(ids), sepp.min, sepp.max)
            raise SeppError(f"{inputs.embeddings}: {advice}")
        recall = None
        if sepp.engine == "ivf" and not sepp.neighbours:
            recall = measure_recall(x, read_pairs(found, ids), low, sepp.max, params.seed)
        about = {"min": low, "max": sepp.max, "pairs_per_image": sepp.pairs_per_image, **origin}
        if (sepp.pairs_per_image, sepp.max_per_anchor, sepp.max_pairs) == (None, None, None):
            os.replace(found, outputs.pairs)  # as it is: it may be many gigabytes
        else:
            limits = (sepp.max_per_anchor, sepp.max_pairs, params.seed)
            kept = cap_pairs(lambda: read_pairs(found, ids), len(ids), *limits)
            write_pairs(outputs.pairs, _chosen(read_pairs(found, ids), kept), ids, about)
    metrics = describe(read_pairs(outputs.pairs, ids), labels)
    if metrics["accuracy"] is None:
        metrics |= judge(answers, inputs, read_pairs(outputs.pairs, ids), ids)
    if recall:
        metrics["recall"] = recall
    artifacts.write_json(outputs.metrics, metrics)
    say(metrics, about, train)
    return len(ids)


def say(metrics: dict, interval: dict[str, object], train: int) -> None:
    """Log what was found, and warn of pairs that are wrong or many; `train` is the number of
    training images."""
    count, accuracy, chance = (metrics[key] for key in ("count", "accuracy", "chance"))
    stricter = "raise sepp.min" if interval["pairs_per_image"] is None else "lower pairs_per_image"
    right = "unknown"
    if accuracy is not None:
        low, high = metrics["accuracy_low"], metrics["accuracy_high"]
        by = f"by chance {chance:.1%}" if chance else f"of {metrics['judged']:,} judged pairs"
        right = f"{accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}; {by})"
    where = f"{metrics['images']:,} images in [{interval['min']:.6g}, {interval['max']:.6g}]"
    logger.info("%s pairs of %s, accuracy %s", f"{count:,}", where, right)
    if accuracy is not None and chance is not None and low <= chance:
        worse = "are no" if metrics["accuracy_high"] <= chance else "are not shown to be"
        remedy = f"{stricter}, or train the sampler longer"
        logger.warning("these pairs %s better than chance: %s", worse, remedy)
    if count > train:
        logger.warning(
            "%.3g semantic pairs per training image: an epoch over an arm's rows takes %.3g times "
            "vanilla's steps, and with pretrain.match_steps: true each image is seen beside itself "
            "%.3g times less often; %s, or cap the pairs with sepp.max_per_anchor",
            *(count / train, 1 + count / train, 1 + count / train, stricter),
        )


def judge(
    answers: list[Answer], inputs: Inputs, blocks: Iterator[Pairs], ids: np.ndarray
) -> dict[str, object]:
    """The metrics of accuracy of unlabelled pairs that people's answers give; none without any."""
    if not answers:
        return {}
    verdicts = resolve(answers, ImageStore(inputs.manifest, inputs.images))
    if verdicts.lost:
        logger.warning(
            "%s: %s answers are on images that the data set does not have",
            inputs.answers,
            f"{verdicts.lost:,}",
        )
    return judged(blocks, ids, verdicts)


def check_count(score: Cosine | Walk, rows: int, sepp: SeppMining, memory: int) -> None:
    """Raises ParamError if there would be more pairs than can be handled."""
    most = MOST if sepp.max_per_anchor is None and sepp.max_pairs is None else min(MOST, memory)
    if sepp.pairs_per_image is not None:
        key, value, expected = "pairs_per_image", sepp.pairs_per_image, sepp.pairs_per_image * rows
        remedy, where = "lower it", ""
    else:
        key, value, expected = "min", sepp.min, score.expected(sepp.min, sepp.max)
        remedy, where = "raise it", f" lie in [{sepp.min}, {sepp.max}]"
    if expected > most:
        remedy += ", or lower embed.k" + ", or raise sepp.memory" * (most < MOST)
        raise ParamError(
            Path("params.yaml"),
            f"sepp.{key}",
            f"{value}: about {expected:,.0f} pairs of {rows:,} images{where}, above {most:,}; "
            f"{remedy}",
        )


def _chosen(blocks: Iterator[Pairs], kept: np.ndarray) -> Iterator[Pairs]:
    start = 0
    for block in blocks:
        yield block.take(kept[start : start + len(block.anchor)])
        start += len(block.anchor)


def changes_options(function: Callable[..., None]) -> Callable[..., None]:
    """One option for each leaf of `sepp` that mining reads, as a round changes it."""
    for leaf in reversed(MiningChanges.model_fields):
        option = click.option(f"--{leaf}", leaf, help=f"Instead of sepp.{leaf}.", metavar="VALUE")
        function = option(function)
    return function


@command
@params_option
@again_options
@changes_options
def main(params_file: Path, again: Again | None, **leaves: str | None) -> None:
    """Find all pairs of embedded images with a similarity in [sepp.min, sepp.max].

    Writes data/pairs.parquet and reports/metrics/mine.json (count, accuracy, balance); for a round,
    to data/rounds/ and reports/metrics/rounds/.
    """
    params = Params.load(params_file)
    given = {leaf: yaml_value(text) for leaf, text in leaves.items() if text is not None}
    if given and not again:
        raise SeppError(
            f"--{next(iter(given))} goes with --round; without, set sepp.{next(iter(given))} in "
            "params.yaml, so that DVC knows"
        )
    command_line = Path("command line")
    changes = validate(command_line, MiningChanges, given)
    params = params.model_copy(update={"sepp": changes.on(params.sepp, command_line, "sepp")})
    inputs = Inputs.again(again) if again else Inputs()
    outputs = Outputs.again(again) if again else Outputs()
    current = partial(Params.load, params_file)
    reading = unedited("stages.mine", current, vars(inputs).values())
    with measured(outputs.cost) as cost, reading:
        cost.images = run(params, inputs, outputs)


if __name__ == "__main__":
    main()
