"""FNC (Huynh et al. 2022, arXiv:2011.11765): finds false negatives during training, and drops them
from the negatives or makes positives of them.

The reference is google-research/fnc, `objective.py`, the loss with a memory. Departures: every row
has a weight; an image is never its own false negative, from earlier epochs neither, and its old
keys are negatives like others; the memory starts with random rows and is no multiple of the batch;
no RandAugment; layers of the head start as torch's do. Kept is the query encoder, as there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from stages.common.sections import Count, ViewChanges, Views
from stages.ssl import distributed
from stages.ssl.heads import HeadSpec, mlp
from stages.ssl.losses import in_float32
from stages.ssl.methods import Batch, Method, MethodParams, NewBackbone, OptimizerName, Step
from stages.ssl.momentum import MomentumEncoder
from stages.ssl.queue import Queue


class FNCParams(MethodParams):
    views: ViewChanges = ViewChanges(
        crop_area=(0.08, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2
    )
    strategy: Literal["attract", "eliminate"] = "attract"  # what is done with false negatives
    support_views: Annotated[int, Field(ge=0)] = 8  # of each row, beside its two
    top_k: Count = 10  # at most so many false negatives of a row
    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.7  # whose cosine is above it
    temperature: Annotated[float, Field(gt=0)] = 0.1
    queue: Count = 65536  # the memory, in which this step's keys count
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.999  # of the key encoder
    hidden_dim: Count = 2048
    output_dim: Count = 128
    optimizer: OptimizerName = "lars"
    base_lr: Annotated[float, Field(gt=0)] = 0.1  # times the root of the batch: 1.6 at 256
    rate_scaling: Literal["linear", "sqrt"] = "sqrt"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_epochs: Annotated[int, Field(ge=0)] = 10


class FNC(Method):
    Params = FNCParams
    params: FNCParams
    zero_init_residual = True
    has_negatives = True

    def __init__(self, params: FNCParams, new_backbone: NewBackbone) -> None:
        super().__init__(params, new_backbone)
        self.key_encoder = MomentumEncoder(self.backbone, self.projection)
        self.queue = Queue(params.queue, params.output_dim)

    def projection_spec(self) -> HeadSpec:
        hidden, out = self.params.hidden_dim, self.params.output_dim
        return mlp(self.feature_dim, hidden, hidden, out, last_norm="scale")

    @classmethod
    def keys_per_row(cls, params: FNCParams) -> int:
        return 2 + params.support_views

    def extra_views(self, views: Views) -> list[Views]:
        return [views] * self.params.support_views

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """Twice the mean over all views of a row, support included, as queries; per row times its
        weight, mean over the rows.

        The memory holds the keys of all views of this step, on all devices, and earlier ones. With
        `mask_partners`, partners are neither negatives nor picked as false negatives.
        """
        p = self.params
        self.key_encoder.update(p.momentum, self.backbone, self.projection)
        views = [first, second, *batch.extra]
        together = torch.cat(views)
        queries = normalize(self.projection(self.backbone(together)).float()).chunk(len(views))
        keys = normalize(self.key_encoder(together).float()).chunk(len(views))
        own = self._remember(keys, batch)  # (V, B)
        memory, ids = self.queue.rows.clone(), self.queue.ids  # (M, D), (M,)
        partner = self._partners(batch, ids)
        image = (ids == batch.anchor[:, None]) | (ids == batch.positive[:, None])
        scores = support_scores(keys, memory)
        found = false_negatives(scores, image | partner | (ids < 0), p.top_k, p.threshold)
        dropped = partner | found if p.strategy == "eliminate" else partner
        attracted = found if p.strategy == "attract" else torch.zeros_like(found)
        losses = []
        for i, query in enumerate(queries):
            others = torch.cat([own[:i], own[i + 1 :]])  # (V - 1, B)
            positive = attracted.scatter(1, others.T, True)
            hidden = (dropped & ~positive).scatter(1, own[i, :, None], True)
            losses.append(multi_positive_nce(query, memory, positive, hidden, p.temperature))
        row, place = found.nonzero(as_tuple=True)
        loss = 2 * torch.stack(losses).mean(0) * batch.weight
        return Step(loss.mean(), queries[0], (batch.anchor[row], ids[place]))

    def _remember(self, keys: Sequence[Tensor], batch: Batch) -> Tensor:
        """Write the keys (B, D) of every view into the memory; (V, B) places of this device's."""
        sources = [batch.positive if i % 2 else batch.anchor for i in range(len(keys))]
        places = self.queue.push(torch.cat(keys), torch.cat(sources))  # (world * V * B,)
        return distributed.share(places).view(len(keys), -1)

    def _partners(self, batch: Batch, ids: Tensor) -> Tensor:
        """(B, M) bool: whether an image (M,) is a partner of one of a row's two."""
        if batch.partners is None:
            return torch.zeros(len(batch.anchor), len(ids), dtype=torch.bool, device=ids.device)
        both = (batch.partners.among(side, ids) for side in (batch.anchor, batch.positive))
        return torch.logical_or(*both)


@in_float32
def support_scores(keys: Sequence[Tensor], memory: Tensor) -> Tensor:
    """Keys (B, D) of every view and a memory (M, D) to (B, M): the best cosine of any view."""
    return functools.reduce(torch.maximum, (key @ memory.T for key in keys))


def false_negatives(scores: Tensor, never: Tensor, top_k: int, threshold: float) -> Tensor:
    """The candidates that are among the `top_k` of a row and above `threshold`.

    Args:
        scores: (B, M) cosine similarities.
        never: (B, M) bool, candidates that are out of the question.

    Returns:
        (B, M) bool.
    """
    scores = scores.masked_fill(never, float("-inf"))
    best, place = scores.topk(min(top_k, scores.shape[1]), dim=1)
    return torch.zeros_like(never).scatter_(1, place, best > threshold)


@in_float32
def multi_positive_nce(
    query: Tensor, memory: Tensor, positive: Tensor, hidden: Tensor, temperature: float
) -> Tensor:
    """Minus the mean over a query's positives of the log of their softmax share.

    Args:
        query: (B, D) unit rows.
        memory: (M, D) unit rows.
        positive: (B, M) bool; they are in the denominator, too.
        hidden: (B, M) bool, neither positives nor in the denominator.

    Returns:
        (B,)
    """
    logits = (query @ memory.T / temperature).masked_fill(hidden, float("-inf"))
    normaliser = logits.logsumexp(1)
    numerator = logits.masked_fill(~positive, 0).sum(1) / positive.sum(1)
    return normaliser - numerator
