"""MoCo-v2 (Chen et al. 2020b, arXiv:2003.04297; He et al. 2020, Algorithm 1).

A query is told from the keys of a queue, which an exponential moving average of the encoder made.
Departures from facebookresearch/moco, `moco/builder.py`: the loss is symmetric by default (as in
the MoCo-v2 row of the SimSiam paper that the SePP paper cites); every row has a weight; the queue
knows which image each key came from. The symmetric loss is the mean of both directions, where
MoCo's CIFAR demo adds them up: a base_lr and weight decay of it are here twice and half as large.
Kept is the query encoder, as there.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from stages.common.sections import Count
from stages.ssl import distributed
from stages.ssl.batch_norm import split_batch_norms
from stages.ssl.heads import HeadSpec, mlp
from stages.ssl.losses import info_nce
from stages.ssl.methods import Batch, Method, MethodParams, NewBackbone, Step
from stages.ssl.momentum import MomentumEncoder
from stages.ssl.queue import Queue


class MoCoParams(MethodParams):
    temperature: Annotated[float, Field(gt=0)] = 0.2
    queue: Count = 65536  # keys that serve as negatives
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.999  # of the key encoder
    symmetric: bool = True  # both views are queries in turn; the loss is the mean of the two
    hidden_dim: Count = 2048
    output_dim: Count = 256  # the SePP paper's; MoCo-v2's own is 128
    bn_splits: Count = 8  # batch-norm groups over all devices (1: one on each); keys are shuffled
    base_lr: Annotated[float, Field(gt=0)] = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4


class MoCo(Method):
    Params = MoCoParams
    params: MoCoParams
    synchronised = False  # a key would be recognised by its batch's statistics
    has_negatives = True
    repels_own = True

    def __init__(self, params: MoCoParams, new_backbone: NewBackbone) -> None:
        super().__init__(params, new_backbone)
        split_batch_norms(self.backbone, params.bn_splits)
        self.key_encoder = MomentumEncoder(self.backbone, self.projection)
        self.queue = Queue(params.queue, params.output_dim)

    def projection_spec(self) -> HeadSpec:
        return mlp(self.feature_dim, self.params.hidden_dim, self.params.output_dim, norm=None)

    @classmethod
    def keys_per_row(cls, params: MoCoParams) -> int:
        return 2 if params.symmetric else 1

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """InfoNCE against the queue, per row times its weight, mean over the batch's rows.

        Rows weighted lambda give Eq. 2 of the SePP paper with 1/(N+P) for 1/N.
        """
        self.key_encoder.update(self.params.momentum, self.backbone, self.projection)
        negatives = self.queue.rows.clone()  # written over before the backward pass
        query, second_key = self._query(first), self._key(second)
        loss = self._loss(query, second_key, negatives, batch.anchor, batch)
        keys, ids = [second_key], [batch.positive]
        if self.params.symmetric:
            first_key = self._key(first)
            mirrored = self._loss(self._query(second), first_key, negatives, batch.positive, batch)
            loss = (loss + mirrored) / 2
            keys, ids = [*keys, first_key], [*ids, batch.anchor]
        # Only now: enqueued any earlier, a view's key would be among its own negatives.
        self.queue.push(torch.cat(keys), torch.cat(ids))
        return Step((loss * batch.weight).mean(), query)

    def _query(self, images: Tensor) -> Tensor:  # (B, 3, S, S) -> (B, D)
        return normalize(self.projection(self.backbone(images)).float())

    @torch.no_grad()
    def _key(self, images: Tensor) -> Tensor:  # (B, 3, S, S) -> (B, D)
        """Keys, made in an order shuffled over all devices so that no batch-norm group holds the
        same images for keys as for queries (He et al. 2020, section 3.3)."""
        everyone = distributed.gather(images)
        order = torch.randperm(len(everyone), device=images.device)  # the same on every device
        key = normalize(self.key_encoder(everyone[distributed.share(order)]).float())
        return distributed.share(distributed.gather(key)[order.argsort()])

    def _loss(
        self, query: Tensor, key: Tensor, negatives: Tensor, ids: Tensor, batch: Batch
    ) -> Tensor:
        """(B,), of queries that are views of the images `ids`."""
        excluded = batch.excluded(ids, self.queue.ids)
        return info_nce(query, key, negatives, self.params.temperature, excluded)
