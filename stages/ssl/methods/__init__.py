"""Instance-discrimination methods: one file each, found by its name.

To add a method, write `stages/ssl/methods/<name>.py` with one subclass of `Method` in it, and a
block `<name>` in methods.yaml; then `pretrain.method: <name>` finds it.
"""

from __future__ import annotations

import importlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator
from torch import Tensor, nn

from stages.common.sections import Section, ViewChanges, Views
from stages.ssl.heads import HeadSpec, build_head
from stages.ssl.partners import Partners

OptimizerName = Literal["sgd", "lars", "adamw"]
NewBackbone = Callable[[], tuple[nn.Module, int]]  # backbone, feature dimension


class Batch(NamedTuple):
    """The rows of one step on this device; ids are the manifest's."""

    anchor: Tensor  # (B,) int64, image of the first view
    positive: Tensor  # (B,) int64, image of the second view; the same image in an instance row
    weight: Tensor  # (B,) float32, 1 for an instance row, sepp.lambda for a semantic row
    extra: Sequence[Tensor] = ()  # the `extra_views`, each (B, 3, S, S): of anchor, positive, …
    epoch: int = 0  # of the vanilla arm's length, if steps are matched
    progress: float = 0.0  # share of the training's steps that are done
    partners: Partners | None = None  # who is not to be whose negative; None: no such rule

    def excluded(self, ids: Tensor, candidates: Tensor) -> Tensor | None:
        """Which images (M,) are not to be negatives of `ids` (B,): (B, M) bool, or no such rule."""
        return self.partners.among(ids, candidates) if self.partners else None


class Step(NamedTuple):
    """What a method makes of one batch."""

    loss: Tensor  # scalar
    embedding: Tensor  # (B, D) projections of the anchors; their spread tells a collapse
    # Whom the method took for alike: (M,) ids of anchors, (M,) ids of their neighbours, -1 = none.
    neighbours: tuple[Tensor, Tensor] | None = None


class Group(NamedTuple):
    """Parameters that the optimiser treats alike."""

    parameters: list[nn.Parameter]
    rate: float = 1.0  # times the learning rate
    constant: bool = False  # its learning rate neither warms up nor decays
    decay: bool = True  # weight decay, and with it LARS's adaptation


class MethodParams(Section):
    """The part of a method's block that all methods share: views, and how the optimiser steps."""

    views: ViewChanges = ViewChanges()  # what of `views` is another for this method
    first_view: ViewChanges = ViewChanges()  # and what of that for the anchor's view
    second_view: ViewChanges = ViewChanges()  # and for the positive's

    optimizer: OptimizerName = "sgd"
    base_lr: Annotated[float, Field(gt=0)]  # at batch size 256 or 1, as rate_scaling says
    rate_scaling: Literal["linear", "sqrt"] = "linear"  # times batch / 256, or its square root
    weight_decay: Annotated[float, Field(ge=0)]
    sgd_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of SGD and LARS
    warmup_epochs: Annotated[int, Field(ge=0)] = 0  # of the learning rate, linear; then cosine

    def peak_rate(self, batch_size: int) -> float:
        """Learning rate after warm-up, at so many rows per step over all devices."""
        linear = self.rate_scaling == "linear"
        return self.base_lr * (batch_size / 256 if linear else math.sqrt(batch_size))

    @property
    def spare_vectors(self) -> bool:
        """Whether biases and norms are not decayed, as in the recipes of LARS and of AdamW."""
        return self.optimizer != "sgd"

    @model_validator(mode="after")
    def _adapted(self) -> MethodParams:
        if self.optimizer == "lars" and self.weight_decay == 0:
            raise ValueError(
                "weight_decay 0.0 leaves every layer out of LARS: raise it, e.g. to 1e-6"
            )
        return self


class AsymmetricParams(MethodParams):
    """With the two views of BYOL (Grill et al. 2020, appendix B), which others took over."""

    views: ViewChanges = ViewChanges(crop_area=(0.08, 1.0), saturation=0.2)
    first_view: ViewChanges = ViewChanges(blur=1.0)
    second_view: ViewChanges = ViewChanges(blur=0.1, solarize=0.2)


class Method(nn.Module, ABC):
    """Base of all methods: the online encoder, and the loss on two views of each row.

    A subclass makes whatever else it needs (predictor, momentum encoder, queue) in its constructor.
    Parameters that take gradients are trained; buffers are saved with a checkpoint.
    """

    Params: ClassVar[type[MethodParams]]
    synchronised: ClassVar[bool] = True  # batch norms are over all devices
    repels_own: ClassVar[bool] = False  # if an image's older keys in the queue are its negatives
    has_negatives: ClassVar[bool] = False  # so that sepp.mask_partners has something to mask
    zero_init_residual: ClassVar[bool] = False  # a random ResNet's blocks start as their shortcuts

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

    def row_views(self, common: Views) -> list[Views]:
        """How each view of a row is made: the two, then the extra ones."""
        views = self.params.views.on(common)
        two = [change.on(views) for change in (self.params.first_view, self.params.second_view)]
        return [*two, *self.extra_views(views)]

    def extra_views(self, views: Views) -> list[Views]:
        """More views of each row, if the method wants any, of the anchor and the positive in turn;
        they come as `batch.extra`."""
        return []

    @classmethod
    def keys_per_row(cls, params: Any) -> int:
        """Embeddings of each row that go into a queue of `params.queue` in one step."""
        return 0

    def kept(self) -> tuple[nn.Module, nn.Module]:
        """Backbone and projection that a training leaves behind, to be evaluated and to mine with.

        The trained ones, as in the references (BYOL's online network, MoCo's and FNC's query
        encoder); a method whose authors evaluate the moving average says so.
        """
        return self.backbone, self.projection

    def groups(self) -> list[Group]:
        """All trained parameters. LARS and AdamW spare biases and norms."""
        return decayed(self.parameters(), self.params.spare_vectors)

    def after_backward(self, epoch: int) -> None:
        """A last look at the gradients before the optimiser steps."""


def decayed(parameters: Iterable[nn.Parameter], spare_vectors: bool) -> list[Group]:
    """Those that take gradients; with `spare_vectors`, biases and norms in a group apart."""
    trained = [p for p in parameters if p.requires_grad]
    if not spare_vectors:
        return [Group(trained)]
    vectors = [p for p in trained if p.ndim < 2]
    return [Group([p for p in trained if p.ndim >= 2]), Group(vectors, decay=False)]


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
