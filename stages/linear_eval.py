"""Evaluate one arm's encoder: kNN and linear top-1 (and top-5) on the test images.

The numbers are those of the last epoch, of the pretraining and of the classifier alike.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stages.common import artifacts, env, sections
from stages.common.command import arm_option, command, params_option, seed_option
from stages.common.cost import cost_path
from stages.common.images import ImageStore
from stages.common.params import StageParams, check_arm
from stages.common.sections import LinearEval
from stages.common.state import TrainingState, run_fingerprint
from stages.evaluation._knn import knn_top1
from stages.evaluation._linear import top_k, train_probe
from stages.evaluation._split import labelled, tested, why_not
from stages.ssl.encoder import Encoder, weights_digest
from stages.ssl.inference import encode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    encoder: Path
    manifest: Path = Path("data/manifest.parquet")
    images: Path = Path("data/images.npy")

    @classmethod
    def of(cls, arm: str, seed: int) -> Inputs:
        return cls(Path(f"models/{arm}-{seed}"))


@dataclass(frozen=True)
class Outputs:
    metrics: Path
    cost: Path

    @classmethod
    def of(cls, arm: str, seed: int) -> Outputs:
        name = f"{arm}-{seed}"
        metrics = Path(f"reports/metrics/linear_eval/{name}.json")
        return cls(metrics, cost_path("linear_eval", name))


class Params(StageParams):
    linear_eval: sections.LinearEval


def run(
    settings: Params, inputs: Inputs, outputs: Outputs, arm: str, seed: int, state: TrainingState
) -> int:
    """Evaluate `inputs.encoder`; where there are too few labels or no test images, say so instead.
    Returns by how many images it is evaluated.

    Of a data set with labels for a part of its images, that part is what counts.
    """
    store = ImageStore(inputs.manifest, inputs.images)
    encoder = Encoder.load(inputs.encoder)
    training = encoder.config.training
    facts = ("epochs", "rows", "steps", "steps_before", "batch_size")
    about = {"arm": arm, "seed": seed, **{key: training.get(key) for key in facts}}
    if "weights" in training:  # that it started from
        about["weights"] = training["weights"]["name"]
    missing = why_not(store)
    if missing:
        log.warning("linear_eval %s-%d: not evaluated: %s", arm, seed, missing)
        result: dict[str, object] = {**about, "skipped": missing}
    else:
        result = {**about, **evaluate(encoder, store, settings.linear_eval, seed, state)}
    state.check()
    if env.is_first():
        artifacts.write_json(outputs.metrics, result)
    state.clear()
    return sum(result.get(f"{split}_images", 0) for split in ("train", "test"))


def evaluate(
    encoder: Encoder, store: ImageStore, settings: LinearEval, seed: int, state: TrainingState
) -> dict[str, object]:
    """Percentages on the test images that have a label.

    Raises:
        AssertionError: the encoder's weights or buffers moved, so that it was not frozen.
    """
    before = weights_digest(encoder.backbone)
    train_ids, test_ids = labelled(store), tested(store)
    counts = _counts(store, train_ids, test_ids)
    labels = torch.from_numpy(store.labels.astype(np.int64))
    train_labels, test_labels = (
        labels[torch.from_numpy(train_ids)],
        labels[torch.from_numpy(test_ids)],
    )
    train = features_of(
        encoder, store, train_ids, settings.batch_size, "features of training images"
    )
    test = features_of(encoder, store, test_ids, settings.batch_size, "features of test images")
    knn = knn_top1(train, train_labels, test, test_labels, settings.knn_k, settings.knn_temperature)
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    classifier, loss = train_probe(
        encoder, store, train_ids, train, classes, settings, seed, state, "linear classifier"
    )
    if weights_digest(encoder.backbone) != before:
        raise AssertionError("the frozen backbone changed during linear evaluation")
    if loss > math.log(classes):
        log.warning(
            "the linear classifier ended at a loss of %.2f, above chance (%.2f): its accuracy says "
            "less than the encoder deserves; lower linear_eval.lr (%g)",
            *(loss, math.log(classes), settings.lr),
        )
    result: dict[str, object] = {"protocol": settings.protocol, "linear_loss": loss}
    result["linear_top1"] = top_k(classifier, test, test_labels, 1)
    if classes > 5:
        result["linear_top5"] = top_k(classifier, test, test_labels, 5)
    return {**result, "knn_top1": knn, **counts}


def _counts(store: ImageStore, train: np.ndarray, test: np.ndarray) -> dict[str, int]:
    """How many images the classifier is trained and tested on, and how many beside them have no
    label, which is told."""
    counts = {"train_images": len(train), "test_images": len(test)}
    for name, ids in (("train", train), ("test", test)):
        split = store.splits[ids[0]]
        unlabelled = len(store.select(split)) - len(ids)
        counts[f"{name}_unlabelled"] = unlabelled
        if unlabelled:
            told = f"{len(ids):,}", split, f"{unlabelled:,}"
            log.info("linear_eval: by the %s %s images that have a label; %s have none", *told)
    return counts


def features_of(
    encoder: Encoder, store: ImageStore, ids: np.ndarray, batch_size: int, label: str
) -> Tensor:
    """Backbone features (N, D) of un-augmented images, on the CPU."""
    blocks = [x for _, x in encode(encoder, store, ids, "backbone", batch_size, label)]
    return torch.from_numpy(np.concatenate(blocks))


@command
@params_option
@arm_option
@seed_option
def main(params_file: Path, arm: str, seed: int) -> None:
    """Evaluate the encoder of one arm and seed: kNN and linear top-1, top-5 with over 5 classes.

    Reads models/<arm>-<seed>; writes reports/metrics/linear_eval/<arm>-<seed>.json, in percent of
    the test images, after the last epoch.
    """
    check_arm(params_file, arm)
    inputs = Inputs.of(arm, seed)

    def current() -> str:
        own = {**Params.load(params_file).model_dump(), "seed": seed}
        return run_fingerprint(["stages.linear_eval"], own, vars(inputs).values())

    with TrainingState("linear_eval", current) as state:
        outputs = Outputs.of(arm, seed)
        state.cost.images = run(Params.load(params_file), inputs, outputs, arm, seed, state)
        state.cost.write(outputs.cost)


if __name__ == "__main__":
    main()
