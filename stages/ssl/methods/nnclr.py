"""NNCLR (Dwibedi et al. 2021, arXiv:2104.14548): the positive is the nearest neighbour's embedding.

The reference is solo-learn's `nnclr.py`, and its asymmetric views. Departure: every row has a
weight.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from stages.common.sections import Count
from stages.ssl import distributed
from stages.ssl.heads import HeadSpec, build_head, mlp
from stages.ssl.losses import in_float32
from stages.ssl.methods import AsymmetricParams, Batch, Method, NewBackbone, OptimizerName, Step
from stages.ssl.queue import Queue


class NNCLRParams(AsymmetricParams):
    temperature: Annotated[float, Field(gt=0)] = 0.1
    queue: Count = 98304  # the support set, in which neighbours are looked for
    hidden_dim: Count = 2048  # of the projection
    output_dim: Count = 256
    prediction_dim: Count = 4096  # hidden, of the predictor
    optimizer: OptimizerName = "lars"
    base_lr: Annotated[float, Field(gt=0)] = 0.3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    warmup_epochs: Annotated[int, Field(ge=0)] = 10


class NNCLR(Method):
    Params = NNCLRParams
    params: NNCLRParams
    has_negatives = True

    def __init__(self, params: NNCLRParams, new_backbone: NewBackbone) -> None:
        super().__init__(params, new_backbone)
        out = params.output_dim
        self.prediction = build_head(mlp(out, params.prediction_dim, out))
        self.queue = Queue(params.queue, out)

    def projection_spec(self) -> HeadSpec:
        hidden, out = self.params.hidden_dim, self.params.output_dim
        return mlp(self.feature_dim, hidden, hidden, out, last_norm="batch")

    @classmethod
    def keys_per_row(cls, params: NNCLRParams) -> int:
        return 1

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """Eq. 2 in both directions, per row times its weight, mean over the rows.

        The negatives are the predictions of all other rows, on all devices. Only embeddings of the
        first view enter the support set, after the neighbours have been taken from it.
        """
        z1, z2 = (self.projection(self.backbone(view)) for view in (first, second))
        p1, p2 = (normalize(self.prediction(z).float()) for z in (z1, z2))
        (n1, id1), (n2, id2) = self._neighbours(z1), self._neighbours(z2)
        # A neighbour stands for its own row's image: the mask goes by the row's ids.
        loss = self._loss(n1, p2, batch.anchor, batch.positive, batch)
        loss = (loss + self._loss(n2, p1, batch.positive, batch.anchor, batch)) / 2
        self.queue.push(normalize(z1.detach().float()), batch.anchor)
        ids, neighbours = torch.cat([batch.anchor, batch.positive]), torch.cat([id1, id2])
        return Step((loss * batch.weight).mean(), z1, (ids, neighbours))

    @torch.no_grad()
    @in_float32
    def _neighbours(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) embeddings to the nearest rows of the support set (B, D), and their images."""
        nearest = (normalize(z) @ self.queue.rows.T).argmax(1)
        return self.queue.rows[nearest], self.queue.ids[nearest]

    def _loss(
        self, neighbour: Tensor, prediction: Tensor, ids: Tensor, others: Tensor, batch: Batch
    ) -> Tensor:
        """(B,), of neighbours for views of the images `ids`, predictions being of `others`."""
        excluded = batch.excluded(ids, distributed.gather(others))
        return neighbour_nce(neighbour, prediction, self.params.temperature, excluded)


@in_float32
def neighbour_nce(
    neighbour: Tensor, prediction: Tensor, temperature: float, excluded: Tensor | None = None
) -> Tensor:
    """Eq. 2: each neighbour tells its own row's prediction from those of all N rows.

    Args:
        neighbour, prediction: (B, D) unit rows of this device.
        excluded: (B, N) bool, rows that are not negatives; a row's own always counts.

    Returns:
        (B,)
    """
    own = torch.arange(len(neighbour), device=neighbour.device)
    target = own + distributed.rank() * len(neighbour)
    logits = neighbour @ distributed.gather_with_gradient(prediction).T / temperature  # (B, N)
    if excluded is not None:
        hidden = excluded.clone()
        hidden[own, target] = False
        logits = logits.masked_fill(hidden, float("-inf"))
    return cross_entropy(logits, target, reduction="none")
