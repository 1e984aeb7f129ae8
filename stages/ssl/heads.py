"""Multilayer heads as plain data, so that a saved encoder can be rebuilt without its method."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from lightly.models.modules.heads import ProjectionHead
from torch import nn

# Batch norm, with learned scale and shift, with the scale alone, or with neither.
Norm = Literal["batch", "scale", "plain"] | None
Activation = Literal["relu", "gelu"] | None
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class Layer(NamedTuple):
    inputs: int
    outputs: int
    norm: Norm  # a layer with a norm has no bias
    activation: Activation


HeadSpec = Sequence[Layer]


def mlp(
    *dims: int, norm: Norm = "batch", activation: Activation = "relu", last_norm: Norm = None
) -> list[Layer]:
    """Linear layers from each of `dims` to the next.

    Args:
        norm, activation: after each layer but the last.
        last_norm: after the last, which has no activation.
    """
    layers = [Layer(i, o, norm, activation) for i, o in pairwise(dims)]
    return [*layers[:-1], Layer(dims[-2], dims[-1], last_norm, None)]


def build_head(spec: HeadSpec) -> ProjectionHead:
    """An MLP (B, inputs of the first layer) -> (B, outputs of the last), as lightly's heads."""
    return ProjectionHead(
        [
            (
                layer.inputs,
                layer.outputs,
                _batch_norm(layer) if layer.norm else None,
                ACTIVATIONS[layer.activation]() if layer.activation else None,
            )
            for layer in (Layer(*entry) for entry in spec)  # JSON has lists only
        ]
    )


def _batch_norm(layer: Layer) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(layer.outputs, affine=layer.norm != "plain")
    if layer.norm == "scale":
        norm.bias.requires_grad_(False)  # 0 for good
    return norm
