"""Transfer: how good the encoder is on other data sets, frozen and fine-tuned.

The protocol of SimCLR (Chen et al. 2020, appendix B.8) and BYOL (Grill et al. 2020), which is that
of Kornblith et al. (2019). Frozen: multinomial logistic regression by L-BFGS, with an L2 penalty,
on backbone features of un-augmented images; the penalty's weight is the best of 45 values between
1e-6 and 1e5 on a validation split, and the regression is then fitted to training and validation
images together. Fine-tuned: the whole network, on random crops and flips, by SGD, after the last
epoch. Top-1 on the test images, or the mean over classes of the accuracy in each, where that is
usual for the set.

Departures: images are made as this encoder's own (bilinear, the shorter edge to 8/7 of its view,
of which the centre), not 224 pixels and bicubic; the validation split is drawn from the training
images by each seed, stratified, whether or not the set has one of its own; fine-tuning has one
schedule for all sets, SwAV's for few labels, where the authors choose rates and weight decay for
each set on its validation split.
"""

from __future__ import annotations

import logging
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from stages.common.errors import DataError
from stages.common.images import ImageStore
from stages.common.sections import Count
from stages.common.state import Part, TrainingState
from stages.datasets._holdout import hold_out
from stages.evaluation._finetune import Rate, Rates, Schedule, check_milestones, finetune, ranked
from stages.evaluation._logistic import choose, classify, regress
from stages.evaluation._sources import Source, left_out, prepared
from stages.evaluation._split import labelled, tested
from stages.ssl.encoder import Encoder
from stages.ssl.inference import device, encode

log = logging.getLogger(__name__)
SECTION = "transfer"
METRICS = {"top1": "top-1", "mean_per_class": "mean per class"}


class Params(Schedule):
    datasets: list[Source] = Field(default_factory=list)
    # Share of a set's training images on which the regularisation is chosen.
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    iterations: Count = 1000  # of L-BFGS at most, for each of the 45 values
    finetune: bool = True  # with the leaves that follow, and the schedule's
    lr: Rate = 0.01  # of the backbone
    head_lr: Rate = 0.2  # of the classifier

    @field_validator("datasets")
    @classmethod
    def _different(cls, sources: list[Source]) -> list[Source]:
        names = [one.name for one in sources]
        if len(set(names)) < len(names):
            raise ValueError(f"names {names}: one is used twice; give each set its own")
        return sources


def metrics(params: Params) -> dict[str, str]:
    return {
        f"{one.name}_{kind}": f"{one.name}, {kind}, {METRICS[one.metric]}"
        for one in params.datasets
        for kind in ("linear", "finetuned")
    }


def evaluate(
    encoder: Encoder, store: ImageStore, params: Params, seed: int, state: TrainingState
) -> dict[str, object]:
    """Percentages on each set's test images, of the regression its regularisation, and how many
    images were left out, if any; `store`, that of the set which the encoder was trained on, is not
    read."""
    if not params.datasets:
        return {"skipped": "transfer.datasets in evaluations.yaml names no data set"}
    if params.finetune:
        check_milestones(params, SECTION)
    result: dict[str, object] = {}
    for one in params.datasets:
        part = state.part(one.name)
        with prepared(one) as images:
            found = _linear(encoder, images, one, params, seed, part.part("linear"))
            if params.finetune:
                found |= _finetuned(encoder, images, one, params, seed, part.part("finetuned"))
            if broken := left_out(images):
                found["left_out"] = broken
        result |= {f"{one.name}_{name}": value for name, value in found.items()}
    return result


def accuracy(guesses: np.ndarray, labels: np.ndarray, metric: str) -> float:
    """Percent of `guesses` (N,) that are right; or the mean over the classes of `labels` (N,) of
    the percent right in each."""
    right = guesses == labels
    if metric == "top1":
        return 100 * float(right.mean())
    return 100 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _linear(
    encoder: Encoder, store: ImageStore, one: Source, params: Params, seed: int, part: Part
) -> dict[str, object]:
    """Logistic regression on frozen features."""

    def fit() -> dict[str, object]:
        ids, test = labelled(store), tested(store)
        x = _features(encoder, store, ids, params, f"{one.name}: features of training images")
        labels, classes = store.labels[ids].astype(np.int64), int(store.labels.max()) + 1
        y = torch.from_numpy(labels).to(x.device)
        held = np.zeros(len(ids), bool)
        held[hold_out(labels, params.validation, seed)] = True
        if not held.any():
            raise DataError(
                f"transfer.datasets: {one.name}: no class has two training images, so none can be "
                "held out to choose the penalty on: leave the set out, or give it more"
            )
        kept = torch.from_numpy(~held).to(x.device)
        strength, chosen = choose(
            *(x[kept], y[kept], x[~kept], labels[held], classes, params.iterations),
            lambda guesses, truth: accuracy(guesses, truth, one.metric),
        )
        final = regress(x, y, classes, strength, chosen.weights, params.iterations)
        if not (chosen.converged and final.converged):
            log.warning(
                "%s: the regression with the chosen penalty, %.3g, had not converged after "
                "transfer.iterations %d: raise them",
                *(one.name, strength, params.iterations),
            )
        del x
        seen = _features(encoder, store, test, params, f"{one.name}: features of test images")
        reached = accuracy(classify(seen, final.weights), store.labels[test], one.metric)
        return {"linear": reached, "regularisation": strength, "test_images": len(test)}

    return part.once(fit)


def _finetuned(
    encoder: Encoder, store: ImageStore, one: Source, params: Params, seed: int, part: Part
) -> dict[str, object]:
    """The whole network, trained on all training images."""

    def tune() -> dict[str, object]:
        ids, test, classes = labelled(store), tested(store), int(store.labels.max()) + 1
        rates, label = Rates(params.lr, params.head_lr), f"{one.name}: fine-tune"
        tuned = finetune(encoder, store, ids, classes, params, rates, seed, part, SECTION, label)
        guesses = ranked(tuned, store, test, 1, params.batch_size, f"{one.name}: test images")
        reached = accuracy(guesses[:, 0], store.labels[test], one.metric)
        return {"finetuned": reached, "finetuned_loss": tuned.loss}

    return part.once(tune)


def _features(
    encoder: Encoder, store: ImageStore, ids: np.ndarray, params: Params, label: str
) -> Tensor:
    """(N, D) backbone features of un-augmented images, on the device."""
    blocks = [x for _, x in encode(encoder, store, ids, "backbone", params.batch_size, label)]
    return torch.from_numpy(np.concatenate(blocks)).to(device())
