"""Encoders that follow the trained one as an exponential moving average."""

from __future__ import annotations

import copy
import math

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn


class MomentumEncoder(nn.Module):
    """A copy of `modules`, applied one after the other, that is never trained.

    Batch norms keep their training mode, and running statistics of their own.
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.average = copy.deepcopy(nn.Sequential(*modules))
        deactivate_requires_grad(self.average)

    def update(self, momentum: float, *modules: nn.Module) -> None:
        """average = momentum * average + (1 - momentum) * modules, for all parameters."""
        update_momentum(nn.Sequential(*modules), self.average, momentum)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:  # (B, 3, S, S) -> (B, D)
        return self.average(images)


def cosine_momentum(base: float, progress: float) -> float:
    """From `base` at the start of training to 1 at its end (Grill et al. 2020, section 3.2).

    Args:
        progress: share of the training's steps that are done, in [0, 1].
    """
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2
