"""Fine-tuning: the whole network and a new linear classifier, trained on labelled images."""

from __future__ import annotations

import copy
import logging
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stages.common.images import ImageStore
from stages.common.sections import Count, Section
from stages.common.state import Part
from stages.evaluation._crops import LabelledCrops
from stages.evaluation._steps import decayed
from stages.ssl.batch_norm import sync_batch_norms
from stages.ssl.distributed import world_size
from stages.ssl.encoder import Encoder
from stages.ssl.inference import encode
from stages.ssl.trainer import Fit, fit

Rate = Annotated[float, Field(gt=0)]
MOMENTUM = 0.9
log = logging.getLogger(__name__)


class Schedule(Section):
    """How long and in which steps a network is fine-tuned; SwAV's where nothing else is said."""

    epochs: Count = 20
    batch_size: Annotated[int, Field(ge=2)] = 256  # all images where they are fewer
    # Epochs at which both learning rates are multiplied by decay.
    milestones: list[int] = Field(default_factory=lambda: [12, 16])
    decay: Annotated[float, Field(gt=0, le=1)] = 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


def check_milestones(schedule: Schedule, section: str) -> None:
    """Warns of those that come after the last epoch."""
    if late := [epoch for epoch in schedule.milestones if epoch >= schedule.epochs]:
        log.warning(
            "%s.milestones: %s: not reached in %d epochs: lower them",
            *(section, ", ".join(map(str, late)), schedule.epochs),
        )


class Rates(NamedTuple):
    backbone: float
    classifier: float


class FineTuning(Fit):
    """Cross-entropy on random crops and flips, by SGD with momentum 0.9.

    Batch norms are in train mode, over all devices together: they normalise by the batch, and their
    averages move on to the new images.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: int,
        images: LabelledCrops,
        schedule: Schedule,
        rates: Rates,
        section: str,
    ) -> None:
        super().__init__(images.batches, schedule.epochs * len(images.batches))
        self.schedule, self.rates, self.crops = schedule, rates, images
        self.backbone = copy.deepcopy(encoder.backbone).train()
        self.classifier = nn.Linear(encoder.feature_dim, classes)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)
        self.remedy = f"lower lr or head_lr of {section} in evaluations.yaml"

    def configure_model(self) -> None:
        if world_size() > 1:
            sync_batch_norms(self.backbone, self.trainer.strategy.root_device)

    def on_fit_start(self) -> None:
        self.crops.to(self.device)

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        views, labels = self.crops.draw(self, batch, index)
        loss = cross_entropy(self.classifier(self.backbone(views)), labels)
        self.record(loss=loss)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        modules = (self.backbone, self.classifier)
        groups = [
            {"params": module.parameters(), "lr": rate}
            for module, rate in zip(modules, self.rates, strict=True)
        ]
        schedule = self.schedule
        sgd = torch.optim.SGD(groups, momentum=MOMENTUM, weight_decay=schedule.weight_decay)
        return decayed(sgd, schedule.milestones, schedule.decay, len(self.batches))


class Tuned(NamedTuple):
    encoder: Encoder
    classifier: nn.Linear
    loss: float  # mean over the last epoch


def finetune(
    encoder: Encoder,
    store: ImageStore,
    ids: np.ndarray,
    classes: int,
    schedule: Schedule,
    rates: Rates,
    seed: int,
    part: Part,
    section: str,
    label: str,
) -> Tuned:
    """A copy of `encoder`, fine-tuned on the images `ids` (N,), and its classifier, after the last
    epoch.

    Args:
        part: where the unfinished training is kept.
        section: of evaluations.yaml that the schedule is from, for messages.
    """
    torch.manual_seed(seed)
    images = LabelledCrops(encoder, store, ids, schedule.batch_size, seed, section)
    module = FineTuning(encoder, classes, images, schedule, rates, section)
    history = fit(module, part, label)
    tuned = copy.deepcopy(encoder)
    tuned.backbone = module.backbone
    return Tuned(tuned.eval(), module.classifier.cpu(), history[-1]["loss"])


@torch.no_grad()
def ranked(
    tuned: Tuned, store: ImageStore, ids: np.ndarray, k: int, batch_size: int, label: str
) -> np.ndarray:
    """The k classes (N, k) with the highest scores of each un-augmented image, the best first."""
    blocks = encode(tuned.encoder, store, ids, "backbone", batch_size, label)
    scores = (tuned.classifier(torch.from_numpy(x)) for _, x in blocks)
    return np.concatenate([x.topk(k).indices.numpy() for x in scores])
