"""Every method, small enough for a test, whatever its file defines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stages.common.plugins import plugins
from stages.common.sections import Views
from stages.ssl.methods import Batch, Method, find_method
from tests.conftest import load_preset

METHODS = plugins("ssl/methods")
# Values for the parameters of these names; others keep their defaults.
SMALL: dict[str, Any] = {
    "hidden_dim": 16,
    "output_dim": 8,
    "bottleneck_dim": 8,
    "expander_dim": 16,
    "projection_dim": 16,
    "prediction_dim": 16,
    "prototypes": 12,
    "queue": 128,
    "queue_epoch": 1,
    "bn_splits": 1,
    "support_views": 2,
    "top_k": 3,
    "local_views": 2,
    "local_size": 8,
    "optimizer": "sgd",
    "base_lr": 0.1,
    "rate_scaling": "linear",
    "views": {},
    "first_view": {},
    "second_view": {},
    "weight_decay": 1e-4,
    "warmup_epochs": 1,
}


def values(name: str, **changes: Any) -> dict[str, Any]:
    """The block ``<name>`` of methods.yaml, whole."""
    kind = find_method(name).Params
    known = {key: value for key, value in SMALL.items() if key in kind.model_fields}
    return kind(**{**known, **changes}).model_dump()


def new(name: str, **changes: Any) -> Method:
    """The method on a linear backbone (3, 2, 2) -> 7, alike every time."""
    kind = find_method(name)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 7))
    return kind(kind.Params(**values(name, **changes)), lambda: (net, 7))


def images(rows: int, seed: int) -> Tensor:
    """(rows, 3, 2, 2), random."""
    return torch.randn(rows, 3, 2, 2, generator=torch.Generator().manual_seed(seed))


def batch(
    anchor: list[int],
    positive: list[int] | None = None,
    weight: list[float] | None = None,
    **more: Any,
) -> Batch:
    """Rows by their ids; instance rows of weight 1 where nothing else is said."""
    positive = anchor if positive is None else positive
    weight = [1.0] * len(anchor) if weight is None else weight
    return Batch(torch.tensor(anchor), torch.tensor(positive), torch.tensor(weight), **more)


def trained(model: Method) -> list[nn.Parameter]:
    """The parameters that the optimiser steps."""
    return [p for p in model.parameters() if p.requires_grad]


@torch.no_grad()
def move(model: Method) -> None:
    """Take a step at random, so that the trained encoder is no longer its moving average."""
    for parameter in trained(model):
        parameter.add_(0.3 * torch.randn(parameter.shape))


def unit(rows: np.ndarray) -> np.ndarray:
    """(N, D), every row at length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@torch.no_grad()
def embed(views: Tensor, *modules: nn.Module) -> np.ndarray:
    """Unit rows (B, D) in float64 of what the modules, one after the other, make of the views."""
    return unit(nn.Sequential(*modules)(views).double().numpy())


@torch.no_grad()
def settle(*modules: nn.Module) -> None:
    """Fix their batch norms on the statistics of random images, so that what they make, one after
    the other, of a row is a matter of the row alone, and differs from row to row."""
    parts = nn.Sequential(*modules)
    for norm in parts.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.momentum = None  # the mean over all batches, of which there is one
    parts.train()(images(256, seed=-1))
    parts.eval()


def common_views() -> Views:
    """The section `views` of a params.yaml."""
    return load_preset("imagenet").views
