"""Semi-supervised learning: the whole network is fine-tuned on a few of the labels.

The protocol of SimCLR (Chen et al. 2020, section 6), BYOL (Grill et al. 2020) and SwAV (Caron et
al. 2020), whose script eval_semisup.py the defaults are from: SGD with momentum 0.9 and no weight
decay, 20 epochs in batches of 256, a rate of its own for the new linear classifier, both rates
times 0.2 at epochs 12 and 16, random crops and flips, batch norms in train mode. Top-1 and, of more
than five classes, top-5 on the test images.

Departures: SwAV reports the best epoch of the test images, here it is the last one. The authors
take one list of ImageNet's files for all; here each seed draws its own, so that an interval over
seeds holds the choice of labels, too; arms of one seed share it. Of each class there is at least
one image. What makes no whole last batch is left out of an epoch, another part in each.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from stages.common.images import ImageStore
from stages.common.sections import Section
from stages.common.state import Part, TrainingState
from stages.evaluation._finetune import Rate, Rates, Schedule, check_milestones, finetune, ranked
from stages.evaluation._split import labelled, stratified, tested, why_not
from stages.ssl.encoder import Encoder

SECTION = "semi_supervised"
MORE = 1.5  # times the share that was asked for, from which on the report says so


class Fraction(Section):
    share: Annotated[float, Field(gt=0, le=1)]  # of the labels
    lr: Rate  # of the backbone
    head_lr: Rate  # of the classifier

    @property
    def name(self) -> str:
        return f"semi_{100 * self.share:g}"


class Params(Schedule):
    fractions: Annotated[list[Fraction], Field(min_length=1)] = Field(
        default_factory=lambda: [
            Fraction(share=0.01, lr=0.02, head_lr=5.0),
            Fraction(share=0.1, lr=0.01, head_lr=0.2),
        ]
    )

    @field_validator("fractions")
    @classmethod
    def _different(cls, fractions: list[Fraction]) -> list[Fraction]:
        shares = [one.share for one in fractions]
        if len(set(shares)) < len(shares):
            raise ValueError(f"shares {shares}: one is named twice, remove the repeat")
        return fractions


def metrics(params: Params) -> dict[str, str]:
    return {
        f"{one.name}_top{k}": f"{100 * one.share:g} % of the labels, top-{k}"
        for one in params.fractions
        for k in (1, 5)
    }


def evaluate(
    encoder: Encoder, store: ImageStore, params: Params, seed: int, state: TrainingState
) -> dict[str, object]:
    """Percentages on the test images, and of each list its images and a digest of their ids."""
    if missing := why_not(store):
        return {"skipped": missing}
    check_milestones(params, SECTION)
    ids = labelled(store)
    lists = [ids[stratified(store.labels[ids], one.share, seed)] for one in params.fractions]
    result: dict[str, object] = {}
    for one, few in zip(params.fractions, lists, strict=True):
        found = _measure(encoder, store, few, one, params, seed, state.part(one.name))
        result |= {f"{one.name}_{name}": value for name, value in found.items()}
    if note := _note(params, [len(few) for few in lists], len(ids)):
        result["note"] = note
    return {**result, "test_images": len(tested(store))}


def _note(params: Params, counts: list[int], total: int) -> str | None:
    """Of small sets, where one image of each class is more than the share that was asked for."""
    told = [
        f"{100 * one.share:g} % is {count:,} of {total:,} images"
        for one, count in zip(params.fractions, counts, strict=True)
        if count > MORE * one.share * total
    ]
    return f"{', '.join(told)}: at least one of each class" if told else None


def _measure(
    encoder: Encoder,
    store: ImageStore,
    few: np.ndarray,
    one: Fraction,
    params: Params,
    seed: int,
    part: Part,
) -> dict[str, object]:
    """What fine-tuning on the images `few` (N,) gives, and which they are."""

    def tune() -> dict[str, float]:
        classes = int(store.labels.max()) + 1
        rates, test = Rates(one.lr, one.head_lr), tested(store)
        label = f"fine-tune on {len(few):,} labels"
        tuned = finetune(encoder, store, few, classes, params, rates, seed, part, SECTION, label)
        guesses = ranked(tuned, store, test, min(5, classes), params.batch_size, "test images")
        right = guesses == store.labels[test][:, None]  # (M, k)
        result = {"top1": 100 * float(right[:, 0].mean()), "loss": tuned.loss}
        return result | ({"top5": 100 * float(right.any(1).mean())} if classes > 5 else {})

    digest = hashlib.sha256(few.astype("<i8").tobytes()).hexdigest()[:16]
    return {**part.once(tune), "images": len(few), "digest": digest}
