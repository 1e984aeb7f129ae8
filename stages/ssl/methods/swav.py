"""SwAV (Caron et al. 2020, arXiv:2006.09882): one view predicts the cluster code of another.

The reference is facebookresearch/swav, `main_swav.py`. Departures: every row has a weight; the
queue and Sinkhorn-Knopp see the rows of all devices, whatever their number; the queue fills from
the start; with LARS, biases and batch norms are spared; small crops have batch statistics of their
own in the head, too; the learning rate decays to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from lightly.models.utils import normalize_weight
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from stages.common.sections import Count, ViewChanges
from stages.ssl import distributed
from stages.ssl.heads import HeadSpec, mlp
from stages.ssl.losses import in_float32
from stages.ssl.methods import Batch, NewBackbone, OptimizerName, Step
from stages.ssl.multi_crop import MultiCrop, MultiCropParams
from stages.ssl.queue import Queue


class SwAVParams(MultiCropParams):
    views: ViewChanges = ViewChanges(
        crop_area=(0.14, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2
    )
    prototypes: Count = 3000
    temperature: Annotated[float, Field(gt=0)] = 0.1
    epsilon: Annotated[float, Field(gt=0)] = 0.05  # entropy of the codes
    iterations: Count = 3  # of Sinkhorn-Knopp
    queue: Annotated[int, Field(ge=0)] = 3840  # earlier rows that are clustered too; 0: none
    queue_epoch: Annotated[int, Field(ge=0)] = 15  # the first one in which they are
    local_views: Annotated[int, Field(ge=0)] = 6  # small crops, which predict but have no code
    hidden_dim: Count = 2048
    output_dim: Count = 128
    optimizer: OptimizerName = "lars"
    base_lr: Annotated[float, Field(gt=0)] = 0.6
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6


class SwAV(MultiCrop):
    """A row's weight multiplies its cross-entropies, and is its mass in Sinkhorn-Knopp, so that
    the prototypes are shared out as if the row occurred `weight` times (a queued row, once)."""

    Params = SwAVParams
    params: SwAVParams

    def __init__(self, params: SwAVParams, new_backbone: NewBackbone) -> None:
        super().__init__(params, new_backbone)
        self.prototypes = nn.Linear(params.output_dim, params.prototypes, bias=False)
        self.queues = nn.ModuleList(
            Queue(params.queue, params.output_dim) for _ in range(2 if params.queue else 0)
        )

    def projection_spec(self) -> HeadSpec:
        return mlp(self.feature_dim, self.params.hidden_dim, self.params.output_dim)

    @classmethod
    def keys_per_row(cls, params: SwAVParams) -> int:
        return 1 if params.queue else 0

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """Cross-entropy of all other views with the codes of the two (Eq. 1 and 2)."""
        p = self.params
        normalize_weight(self.prototypes.weight)
        embeddings = list(self._embed(torch.cat([first, second])).chunk(2))
        local = [self._embed(torch.cat(list(batch.extra)))] if batch.extra else []
        logits = [self._scores(z) for z in (*embeddings, *local)]
        views = [*logits[:2], *(logits[2].chunk(len(batch.extra)) if local else ())]
        codes = [self._codes(i, z, views[i], batch) for i, z in enumerate(embeddings)]
        loss = swapped_prediction(views, codes, p.temperature)
        return Step((loss * batch.weight).mean(), embeddings[0])

    def _embed(self, images: Tensor) -> Tensor:  # (B, 3, S, S) -> (B, D)
        return normalize(self.projection(self.backbone(images)).float())

    @in_float32
    def _scores(self, embedding: Tensor) -> Tensor:  # (B, D) -> (B, K)
        return self.prototypes(embedding)

    @torch.no_grad()
    def _codes(self, view: int, embedding: Tensor, logits: Tensor, batch: Batch) -> Tensor:
        """(B, K) of one of the two views, from the rows of all devices and the queue's."""
        scores, weight = distributed.gather(logits), distributed.gather(batch.weight)
        everyone, mass = scores, weight
        if self.params.queue:
            queue = self.queues[view]
            # Not before it has been filled: until then some of its rows are random.
            if batch.epoch >= self.params.queue_epoch and (queue.ids >= 0).all():
                everyone = torch.cat([scores, self._scores(queue.rows)])
                mass = torch.cat([weight, weight.new_ones(len(queue.rows))])
            queue.push(embedding, batch.positive if view else batch.anchor)
        codes = sinkhorn(everyone, mass, self.params.epsilon, self.params.iterations)
        return distributed.share(codes[: len(scores)])


@in_float32
def swapped_prediction(
    views: Sequence[Tensor], codes: Sequence[Tensor], temperature: float
) -> Tensor:
    """Eq. 2, over multi-crop: the mean over codes of the mean over all views but the code's own.

    Args:
        views: (B, K) scores of the prototypes for each view; `codes` are of the first of them.
        codes: (B, K), rows that sum to 1.
    """
    logs = [log_softmax(view / temperature, dim=1) for view in views]
    terms = [
        -(code * log).sum(1) for i, code in enumerate(codes) for j, log in enumerate(logs) if i != j
    ]
    return torch.stack(terms).mean(0)


def sinkhorn(scores: Tensor, mass: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft assignment of rows to prototypes such that all prototypes get equal mass.

    Args:
        scores: (N, K).
        mass: (N,) of each row.

    Returns:
        (N, K), rows that sum to 1.
    """
    log_mass = (mass / mass.sum()).log()[:, None]
    codes = scores / epsilon  # logarithms throughout, so that no epsilon is too small
    for _ in range(iterations):
        codes = codes - (codes + log_mass).logsumexp(0)  # each prototype gets the same mass
        codes = codes - codes.logsumexp(1, keepdim=True)  # and each row gives its own
    return codes.exp()
