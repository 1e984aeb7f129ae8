"""BYOL (Grill et al. 2020, arXiv:2006.07733): predicts what a moving average sees in another view.

The references are solo-learn's `byol.py` and, for views and rates, deepmind-research/byol.
Departures: every row has a weight; last layers of the heads have a bias, as solo-learn's; basic
blocks of a ResNet start as their shortcuts, too, not its bottlenecks alone. Kept is the online
network, as the paper says.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from stages.common.sections import Count
from stages.ssl.heads import HeadSpec, build_head, mlp
from stages.ssl.losses import in_float32
from stages.ssl.methods import AsymmetricParams, Batch, Method, NewBackbone, OptimizerName, Step
from stages.ssl.momentum import MomentumEncoder, cosine_momentum


class BYOLParams(AsymmetricParams):
    # The authors' for 100 epochs; 300: 0.99, 0.3, 1e-6; 1000: 0.996, 0.2, 1.5e-6.
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.99  # of the target at first; 1 at the end
    hidden_dim: Count = 4096  # of projection and predictor
    output_dim: Count = 256
    optimizer: OptimizerName = "lars"
    base_lr: Annotated[float, Field(gt=0)] = 0.45
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    warmup_epochs: Annotated[int, Field(ge=0)] = 10


class BYOL(Method):
    Params = BYOLParams
    params: BYOLParams
    zero_init_residual = True

    def __init__(self, params: BYOLParams, new_backbone: NewBackbone) -> None:
        super().__init__(params, new_backbone)
        out = params.output_dim
        self.prediction = build_head(mlp(out, params.hidden_dim, out))
        self.target = MomentumEncoder(self.backbone, self.projection)

    def projection_spec(self) -> HeadSpec:
        return mlp(self.feature_dim, self.params.hidden_dim, self.params.output_dim)

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """Squared distance of unit vectors in both directions (Eq. 2), per row times its weight.

        The paper moves the target after the optimiser's step, here it is before the next one.
        """
        momentum = cosine_momentum(self.params.momentum, batch.progress)
        self.target.update(momentum, self.backbone, self.projection)
        z1, z2 = (self.projection(self.backbone(view)) for view in (first, second))
        p1, p2 = self.prediction(z1), self.prediction(z2)
        loss = squared_distance(p1, self.target(second)) + squared_distance(p2, self.target(first))
        return Step((loss * batch.weight).mean(), z1)


@in_float32
def squared_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """||p/|p| - z/|z|||^2 = 2 - 2 cos(p, z): (B, D) and (B, D) to (B,)."""
    return 2 - 2 * cosine_similarity(prediction, target)
