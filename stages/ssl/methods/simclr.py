"""SimCLR (Chen et al. 2020a, arXiv:2002.05709): NT-Xent over all views of the whole batch.

The reference is google-research/simclr. Departures: every row has a weight; the loss is the
mean of the two views' as in the paper, where the reference adds them (LARS is blind to that but for
batch norms); layers of the head start as torch's do, and there are two, as in the paper. For small
batches the authors' later recipe goes by the root: `rate_scaling: sqrt`, base_lr 0.1, weight decay
1e-4.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from stages.common.sections import Count, ViewChanges
from stages.ssl import distributed
from stages.ssl.heads import HeadSpec, mlp
from stages.ssl.losses import in_float32
from stages.ssl.methods import Batch, Method, MethodParams, OptimizerName, Step


class SimCLRParams(MethodParams):
    views: ViewChanges = ViewChanges(
        crop_area=(0.08, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2
    )
    temperature: Annotated[float, Field(gt=0)] = 0.1
    hidden_dim: Count = 2048
    output_dim: Count = 128
    optimizer: OptimizerName = "lars"
    base_lr: Annotated[float, Field(gt=0)] = 0.3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    warmup_epochs: Annotated[int, Field(ge=0)] = 10


class SimCLR(Method):
    Params = SimCLRParams
    params: SimCLRParams
    zero_init_residual = True
    has_negatives = True

    def projection_spec(self) -> HeadSpec:
        return mlp(
            self.feature_dim, self.params.hidden_dim, self.params.output_dim, last_norm="scale"
        )

    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """NT-Xent of both views of a row, times its weight, mean over the rows.

        The negatives are the views of all other rows, on all devices, whatever their weight.
        """
        views = self.projection(self.backbone(torch.cat([first, second]))).float()
        one, two = normalize(views).chunk(2)
        images = batch.anchor, batch.positive
        everyone = torch.cat([distributed.gather(ids) for ids in images])
        excluded = batch.excluded(torch.cat(images), everyone)
        loss = nt_xent(one, two, self.params.temperature, excluded)
        return Step((loss * batch.weight).mean(), one)


@in_float32
def nt_xent(
    first: Tensor, second: Tensor, temperature: float, excluded: Tensor | None = None
) -> Tensor:
    """Eq. 1 of both papers: each view tells its row's other view from all 2N - 2 other views.

    Args:
        first, second: (B, D) unit rows, the two views of this device's rows.
        temperature: divides the cosine similarities.
        excluded: (2B, 2N) bool, views that are not negatives of a view, N rows being on all
            devices together: first views, then second views. A row's own positive always counts.

    Returns:
        (B,) mean of the two views' losses.
    """
    queries = torch.cat([first, second])  # (2B, D)
    everyone = [distributed.gather_with_gradient(view) for view in (first, second)]
    total, size = len(everyone[0]), len(first)
    own = torch.arange(size, device=first.device) + distributed.rank() * size
    itself, positive = torch.cat([own, own + total]), torch.cat([own + total, own])
    row = torch.arange(2 * size, device=first.device)
    hidden = torch.zeros(2 * size, 2 * total, dtype=torch.bool, device=first.device)
    if excluded is not None:
        hidden |= excluded
        hidden[row, positive] = False
    hidden[row, itself] = True
    logits = queries @ torch.cat(everyone).T / temperature
    logits = logits.masked_fill(hidden, float("-inf"))
    return cross_entropy(logits, positive, reduction="none").view(2, size).mean(0)
