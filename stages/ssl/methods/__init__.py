"""Instance-discrimination methods: one file each, found by its name.

To add a method, write `stages/ssl/methods/<name>.py` with one subclass of `Method` in it, and a
block `methods.<name>` in params.yaml; then `pretrain.method: <name>` finds it.
"""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from stages.common.params import Section
from stages.ssl.heads import HeadSpec, build_head

NewBackbone = Callable[[], tuple[nn.Module, int]]  # backbone, feature dimension


class Batch(NamedTuple):
    """The rows of one step on this device; ids are the manifest's."""

    anchor: Tensor  # (B,) int64, image of the first view
    positive: Tensor  # (B,) int64, image of the second view; the same image in an instance row
    weight: Tensor  # (B,) float32, 1 for an instance row, sepp.lambda for a semantic row


class Step(NamedTuple):
    """What a method makes of one batch."""

    loss: Tensor  # scalar
    embedding: Tensor  # (B, D) projections of the anchors; their spread tells a collapse


class MethodParams(Section):
    """The part of `methods.<name>` that all methods share: how the optimiser steps."""

    base_lr: Annotated[float, Field(gt=0)]  # at batch size 256; scaled linearly with it
    weight_decay: Annotated[float, Field(ge=0)]
    sgd_momentum: Annotated[float, Field(ge=0, lt=1)]


class Method(nn.Module, ABC):
    """Base of all methods: the online encoder, and the loss on two views of each row.

    A subclass makes whatever else it needs (key encoder, predictor, queue) in its constructor.
    Parameters that take gradients are trained; buffers are saved with a checkpoint.
    """

    Params: ClassVar[type[MethodParams]]

    def __init__(self, params: MethodParams, new_backbone: NewBackbone) -> None:
        super().__init__()
        self.params = params
        self.backbone, self.feature_dim = new_backbone()
        self.projection = build_head(self.projection_spec())

    @abstractmethod
    def projection_spec(self) -> HeadSpec:
        """Layers of the projection head, which starts at `self.feature_dim`."""

    @abstractmethod
    def step(self, first: Tensor, second: Tensor, batch: Batch) -> Step:
        """Loss of one batch.

        Args:
            first: (B, 3, S, S) views of the anchors.
            second: (B, 3, S, S) views of the positives.
            batch: ids and weights of the rows; a row's loss counts `weight` times.
        """


def find_method(name: str) -> type[Method]:
    """The one `Method` that `stages/ssl/methods/<name>.py` defines."""
    module = importlib.import_module(f"{__name__}.{name}")
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Method)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__file__} defines {len(found)} methods instead of one")
    return found[0]
