"""VICReg (Bardes et al. 2022, arXiv:2105.04906): invariance, variance and covariance.

The reference is facebookresearch/vicreg, `main_vicreg.py`, where the variance term is halved.
Departures: every row has a weight; the learning rate decays to 0, and the last layer has a bias,
which no term depends on.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from stages.common.sections import Count
from stages.ssl import distributed
from stages.ssl.heads import HeadSpec, mlp
from stages.ssl.losses import in_float32
from stages.ssl.methods import AsymmetricParams, Batch, Method, OptimizerName, Step

Coefficient = Annotated[float, Field(ge=0)]


class VICRegParams(AsymmetricParams):
    invariance: Coefficient = 25.0
    variance: Coefficient = 25.0
    covariance: Coefficient = 1.0
    expander_dim: Count = 8192
    layers: Annotated[int, Field(ge=2)] = 3  # of the expander
    optimizer: OptimizerName = "lars"
    base_lr: Annotated[float, Field(gt=0)] = 0.3  # the authors' for 100 epochs; 1000: 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    warmup_epochs: Annotated[int, Field(ge=0)] = 10


class VICReg(Method):
    """A row's weight is its share in every statistic: means are weighted, variances and covariances
    are those of `numpy.cov(aweights=weight)`, and the loss as a whole is multiplied by the batch's
    mean weight. In the statistics, weight 0 is as if the row were not there."""

    Params = VICRegParams
    params: VICRegParams
    zero_init_residual = True

    def projection_spec(self) -> HeadSpec:
        return mlp(self.feature_dim, *[self.params.expander_dim] * self.params.layers)

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """The statistics are those of the whole batch, over all devices."""
        z1, z2 = (self.projection(self.backbone(view)) for view in (first, second))
        everyone = (distributed.gather_with_gradient(z.float()) for z in (z1, z2))
        p = self.params
        coefficients = (p.invariance, p.variance, p.covariance)
        return Step(vicreg(*everyone, distributed.gather(batch.weight), coefficients), z1)


@in_float32
def vicreg(
    first: Tensor, second: Tensor, weight: Tensor, coefficients: tuple[float, float, float]
) -> Tensor:
    """Eq. 6 with weighted samples.

    Args:
        first, second: (N, D) embeddings of the two views.
        weight: (N,), of the rows.
        coefficients: of the invariance, variance and covariance terms.

    Returns:
        Scalar.
    """
    share = weight / weight.sum()
    invariance = (share @ (first - second).square()).mean()
    variance = covariance = 0.0
    for z in (first, second):
        centred = z - share @ z
        # 1 - sum of squared shares is (N-1)/N for equal weights: the unbiased estimate.
        cov = (centred * share[:, None]).T @ centred / (1 - share.square().sum())  # (D, D)
        deviation = (cov.diagonal() + 1e-4).sqrt()
        variance = variance + (1 - deviation).relu().mean() / 2
        covariance = covariance + (cov.square().sum() - cov.diagonal().square().sum()) / len(cov)
    terms = (invariance, variance, covariance)
    return sum(c * term for c, term in zip(coefficients, terms, strict=True)) * weight.mean()
