"""Linear evaluation: a softmax classifier on the features of a frozen backbone (He et al. 2020).

The two protocols train the same classifier with the same schedule. `cached` computes the features
once, from un-augmented images; `moco` computes them anew from random crops and flips.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy

from stages.common.images import ImageStore
from stages.common.sections import LinearEval
from stages.common.state import TrainingState
from stages.evaluation._crops import LabelledCrops
from stages.evaluation._steps import capped, decayed
from stages.ssl.batches import Batches
from stages.ssl.encoder import Encoder
from stages.ssl.trainer import Fit, fit


class FeatureBatches(Batches):
    """Batches of cached features (N, D) and labels (N,)."""

    def __init__(self, features: Tensor, labels: Tensor, batch_size: int, seed: int) -> None:
        super().__init__(len(features), capped(batch_size, len(features)), seed)
        self.features, self.labels = features, labels

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        rows = torch.from_numpy(self.rows(*key))
        return {"features": self.features[rows], "labels": self.labels[rows]}


class Probe(Fit):
    """A linear layer trained by SGD, its learning rate divided by ten at the milestones."""

    remedy = "lower linear_eval.lr in params.yaml"

    def __init__(self, dim: int, classes: int, params: LinearEval, batches: Batches) -> None:
        super().__init__(batches, params.epochs * len(batches))
        self.params = params
        self.classifier = nn.Linear(dim, classes)
        self.classifier.weight.data.normal_(mean=0.0, std=0.01)
        self.classifier.bias.data.zero_()

    def features(self, batch: dict[str, Tensor], index: int) -> tuple[Tensor, Tensor]:
        """Features (B, D) and labels (B,) of a batch."""
        return batch["features"], batch["labels"]

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        features, labels = self.features(batch, index)
        loss = cross_entropy(self.classifier(features), labels)
        self.record(loss=loss)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        sgd = torch.optim.SGD(self.classifier.parameters(), self.params.lr, momentum=0.9)
        return decayed(sgd, self.params.milestones, 0.1, len(self.batches))


class ImageProbe(Probe):
    """The full protocol: features of random crops and flips, by a backbone in eval mode."""

    def __init__(
        self, encoder: Encoder, classes: int, params: LinearEval, images: LabelledCrops
    ) -> None:
        super().__init__(encoder.feature_dim, classes, params, images.batches)
        # In a list, so that the backbone is neither trained, nor saved, nor set to train mode.
        self.frozen = [encoder.backbone.eval()]
        self.images = images

    def on_fit_start(self) -> None:
        self.frozen[0].to(self.device)
        self.images.to(self.device)

    @torch.no_grad()
    def features(self, batch: dict[str, Tensor], index: int) -> tuple[Tensor, Tensor]:
        views, labels = self.images.draw(self, batch, index)
        return self.frozen[0](views), labels


def train_probe(
    encoder: Encoder,
    store: ImageStore,
    ids: np.ndarray,
    features: Tensor,
    classes: int,
    params: LinearEval,
    seed: int,
    state: TrainingState,
    label: str,
) -> tuple[nn.Linear, float]:
    """The classifier after the last epoch, and the mean training loss of that epoch.

    Args:
        ids: (N,) images to train on, all with labels.
        features: (N, D) their un-augmented features, which the cached protocol trains on.
    """
    torch.manual_seed(seed)
    if params.protocol == "cached":
        labels = torch.from_numpy(store.labels[ids].astype(np.int64))
        batches = FeatureBatches(features, labels, params.batch_size, seed)
        probe = Probe(features.shape[1], classes, params, batches)
    else:
        images = LabelledCrops(encoder, store, ids, params.batch_size, seed, "linear_eval")
        probe = ImageProbe(encoder, classes, params, images)
    history = fit(probe, state, label)
    return probe.classifier.cpu(), history[-1]["loss"]


@torch.no_grad()
def top_k(classifier: nn.Linear, features: Tensor, labels: Tensor, k: int) -> float:
    """Share of rows (M, D), in percent, whose label (M,) is among the k highest scores."""
    scores = classifier(features)
    accuracy = multiclass_accuracy(scores, labels, scores.shape[1], top_k=k, average="micro")
    # A float32 share is some 5e-6 points off, in which equal gains of two seeds would differ.
    return 100 * round(float(accuracy) * len(labels)) / len(labels)
