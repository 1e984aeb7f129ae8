"""MoCo-v2 (Chen et al. 2020b, arXiv:2003.04297; He et al. 2020, Algorithm 1).

A query is told from the keys of a queue, which an exponential moving average of the encoder made.
Departures from facebookresearch/moco, `moco/builder.py`: the loss is symmetric by default (as in
the MoCo-v2 row of the SimSiam paper that the SePP paper cites); every row has a weight; the queue
knows which image each key came from.
"""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from stages.common.errors import SeppError
from stages.common.params import Count
from stages.ssl import distributed
from stages.ssl.backbones import split_batch_norms
from stages.ssl.heads import HeadSpec
from stages.ssl.losses import info_nce
from stages.ssl.methods import Batch, Method, MethodParams, NewBackbone, Step


class MoCoParams(MethodParams):
    temperature: Annotated[float, Field(gt=0)]
    queue: Count  # keys that serve as negatives
    momentum: Annotated[float, Field(ge=0, le=1)]  # of the key encoder
    symmetric: bool  # both views are queries in turn; the loss is the mean of the two
    hidden_dim: Count
    output_dim: Count
    bn_splits: Count  # batch-norm groups over all devices (1: one on each); keys are shuffled


class MoCo(Method):
    Params = MoCoParams
    params: MoCoParams

    def __init__(self, params: MoCoParams, new_backbone: NewBackbone) -> None:
        super().__init__(params, new_backbone)
        split_batch_norms(self.backbone, params.bn_splits)
        self.key_backbone = copy.deepcopy(self.backbone)
        self.key_projection = copy.deepcopy(self.projection)
        for module in (self.key_backbone, self.key_projection):
            deactivate_requires_grad(module)
        self.queue: Tensor
        self.queue_ids: Tensor
        self.queue_next: Tensor
        self.register_buffer("queue", normalize(torch.randn(params.queue, params.output_dim)))
        self.register_buffer("queue_ids", torch.full((params.queue,), -1))  # -1: no image yet
        self.register_buffer("queue_next", torch.zeros((), dtype=torch.int64))  # next row to write

    def projection_spec(self) -> HeadSpec:
        hidden, out = self.params.hidden_dim, self.params.output_dim
        return [(self.feature_dim, hidden, False, True), (hidden, out, False, False)]

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """InfoNCE against the queue, per row times its weight, mean over the batch's rows.

        Rows weighted lambda give Eq. 2 of the SePP paper with 1/(N+P) for 1/N.
        """
        update_momentum(self.backbone, self.key_backbone, self.params.momentum)
        update_momentum(self.projection, self.key_projection, self.params.momentum)
        negatives = self.queue.clone()  # the queue is written below, before the backward pass
        temperature = self.params.temperature
        query = self._query(first)
        second_key = self._key(second)
        loss = info_nce(query, second_key, negatives, temperature)
        keys, ids = [second_key], [batch.positive]
        if self.params.symmetric:
            first_key = self._key(first)
            mirrored = info_nce(self._query(second), first_key, negatives, temperature)
            loss = (loss + mirrored) / 2
            keys, ids = [*keys, first_key], [*ids, batch.anchor]
        # Only now: enqueued any earlier, a view's key would be among its own negatives.
        self._enqueue(torch.cat(keys), torch.cat(ids))
        return Step((loss * batch.weight).mean(), query)

    def _query(self, images: Tensor) -> Tensor:  # (B, 3, S, S) -> (B, D)
        return normalize(self.projection(self.backbone(images)).float())

    @torch.no_grad()
    def _key(self, images: Tensor) -> Tensor:  # (B, 3, S, S) -> (B, D)
        """Keys, made in an order shuffled over all devices so that no batch-norm group holds the
        same images for keys as for queries (He et al. 2020, section 3.3)."""
        everyone = distributed.gather(images)
        order = torch.randperm(len(everyone)).to(images.device)  # the same on every device
        mine = distributed.share(order)
        key = normalize(self.key_projection(self.key_backbone(everyone[mine])).float())
        return distributed.share(distributed.gather(key)[order.argsort()])

    @torch.no_grad()
    def _enqueue(self, keys: Tensor, ids: Tensor) -> None:  # (M, D), (M,)
        """Write all devices' keys over the oldest in the queue."""
        keys, ids = distributed.gather(keys), distributed.gather(ids)
        size = len(self.queue)
        if len(keys) > size:
            raise SeppError(
                f"methods.moco.queue {size} is below the {len(keys)} keys of one step: "
                "make it larger, or the batch smaller"
            )
        rows = (self.queue_next + torch.arange(len(keys), device=keys.device)) % size
        self.queue[rows] = keys
        self.queue_ids[rows] = ids
        self.queue_next.copy_((self.queue_next + len(keys)) % size)
