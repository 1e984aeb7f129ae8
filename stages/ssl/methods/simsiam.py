"""SimSiam (Chen & He 2021, arXiv:2011.10566): the prediction of one view meets the other view.

The reference is facebookresearch/simsiam: no gradient flows through the target, and the
predictor's learning rate does not decay. Departure: every row has a weight.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from stages.common.sections import Count
from stages.ssl.heads import HeadSpec, build_head, mlp
from stages.ssl.losses import in_float32
from stages.ssl.methods import Batch, Group, Method, MethodParams, NewBackbone, Step, decayed


class SimSiamParams(MethodParams):
    layers: Annotated[int, Field(ge=2)] = 3  # of the projection; 2 for CIFAR
    hidden_dim: Count = 2048  # of the projection, and its output
    bottleneck_dim: Count = 512  # of the predictor
    base_lr: Annotated[float, Field(gt=0)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4


class SimSiam(Method):
    Params = SimSiamParams
    params: SimSiamParams
    zero_init_residual = True

    def __init__(self, params: SimSiamParams, new_backbone: NewBackbone) -> None:
        super().__init__(params, new_backbone)
        dim = params.hidden_dim
        self.prediction = build_head(mlp(dim, params.bottleneck_dim, dim))

    def projection_spec(self) -> HeadSpec:
        dims = [self.params.hidden_dim] * self.params.layers
        return mlp(self.feature_dim, *dims, last_norm="plain")

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """Minus the cosine of each row, times its weight, mean over the rows."""
        z1, z2 = (self.projection(self.backbone(view)) for view in (first, second))
        p1, p2 = self.prediction(z1), self.prediction(z2)
        loss = (negative_cosine(p1, z2) + negative_cosine(p2, z1)) / 2
        return Step((loss * batch.weight).mean(), z1)

    def groups(self) -> list[Group]:
        spare = self.params.spare_vectors
        encoder = [*self.backbone.parameters(), *self.projection.parameters()]
        predictor = decayed(self.prediction.parameters(), spare)
        return decayed(encoder, spare) + [g._replace(constant=True) for g in predictor]


@in_float32
def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """D(p, stopgrad(z)), Eq. 1 and 3: (B, D) and (B, D) to (B,)."""
    return -cosine_similarity(prediction, target.detach())
