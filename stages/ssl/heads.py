"""Multilayer heads as plain data, so that a saved encoder can be rebuilt without its method."""

from __future__ import annotations

from lightly.models.modules.heads import ProjectionHead
from torch import nn

# Each layer: (inputs, outputs, batch norm?, ReLU?). A layer with batch norm has no bias.
HeadSpec = list[tuple[int, int, bool, bool]]


def build_head(spec: HeadSpec) -> ProjectionHead:
    """An MLP (B, inputs of the first layer) -> (B, outputs of the last), as lightly's heads."""
    return ProjectionHead(
        [
            (
                inputs,
                outputs,
                nn.BatchNorm1d(outputs) if norm else None,
                nn.ReLU() if relu else None,
            )
            for inputs, outputs, norm, relu in spec
        ]
    )
