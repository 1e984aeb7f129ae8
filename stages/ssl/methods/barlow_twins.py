"""Barlow Twins (Zbontar et al. 2021, arXiv:2103.03230): the views' cross-correlation is identity.

The reference is facebookresearch/barlowtwins, `main.py`. Departures: every row has a weight; the
learning rate decays to 0, and the last layer has a bias, which the loss does not depend on.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from stages.common.sections import Count
from stages.ssl import distributed
from stages.ssl.heads import HeadSpec, mlp
from stages.ssl.losses import in_float32
from stages.ssl.methods import AsymmetricParams, Batch, Group, Method, OptimizerName, Step


class BarlowTwinsParams(AsymmetricParams):
    redundancy: Annotated[float, Field(ge=0)] = 0.0051  # weight of the off-diagonal terms
    projection_dim: Count = 8192
    layers: Annotated[int, Field(ge=2)] = 3  # of the projection
    optimizer: OptimizerName = "lars"
    base_lr: Annotated[float, Field(gt=0)] = 0.2
    vector_rate: Annotated[float, Field(gt=0)] = 0.024  # times base_lr, of biases and batch norms
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    warmup_epochs: Annotated[int, Field(ge=0)] = 10


class BarlowTwins(Method):
    """A row's weight is its share in every statistic: means, deviations and the cross-correlation
    are those of a sample in which the row occurs `weight` times, and the loss as a whole is
    multiplied by the batch's mean weight. In them, weight 0 is as if the row were not there."""

    Params = BarlowTwinsParams
    params: BarlowTwinsParams
    zero_init_residual = True

    def projection_spec(self) -> HeadSpec:
        return mlp(self.feature_dim, *[self.params.projection_dim] * self.params.layers)

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """The correlation is that of the whole batch, over all devices."""
        z1, z2 = (self.projection(self.backbone(view)) for view in (first, second))
        everyone = (distributed.gather_with_gradient(z.float()) for z in (z1, z2))
        weight = distributed.gather(batch.weight)
        return Step(barlow_twins(*everyone, weight, self.params.redundancy), z1)

    def groups(self) -> list[Group]:
        groups = super().groups()
        if self.params.optimizer != "lars":
            return groups
        return [g if g.decay else g._replace(rate=self.params.vector_rate) for g in groups]


@in_float32
def barlow_twins(first: Tensor, second: Tensor, weight: Tensor, redundancy: float) -> Tensor:
    """Eq. 1 and 2 with weighted samples.

    Args:
        first, second: (N, D) embeddings of the two views.
        weight: (N,), of the rows.
        redundancy: lambda of the paper, the weight of the off-diagonal terms.

    Returns:
        Scalar.
    """
    share = weight / weight.sum()
    one, two = (_standardised(z, share) for z in (first, second))
    correlation = (one * share[:, None]).T @ two  # (D, D)
    diagonal = correlation.diagonal()
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    return ((1 - diagonal).square().sum() + redundancy * off_diagonal) * weight.mean()


def _standardised(z: Tensor, share: Tensor) -> Tensor:  # (N, D), (N,) -> (N, D)
    """As the reference's batch norm without affine does it, epsilon included."""
    centred = z - share @ z
    return centred * (share @ centred.square() + 1e-5).rsqrt()
