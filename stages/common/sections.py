"""The sections of params.yaml, but `sepp` and `rounds`: leaves, what they mean, their checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from stages.common.given import Given
from stages.common.plugins import choice, plugins

BUNDLED = ("characters", "characters_validation", "digits")  # data sets that need no data root
Arm = Literal["vanilla", "sepp", "duplicate", "random", "oracle"]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(Section):
    name: str  # a file of stages/datasets
    watch: list[str]  # [name] for a data set outside the repository: listed anew at every repro
    # Train on so many images, drawn at random; on fewer where skip_broken leaves out some of them.
    limit: Annotated[int, Field(ge=2)] | None
    # That share of the training images with a label tests, where there is no test split. It is
    # drawn before `limit` is, and class by class.
    split: Annotated[float, Field(gt=0, lt=1)] | None
    unlabelled: bool  # take a data set without a label column as it is; else stop
    skip_broken: bool  # leave out images that do not decode, and count them; else stop
    # Pixels, edge of the square that is held of each image: its centre, made so large.
    resize: Annotated[int, Field(ge=4)] | None
    pack_gib: Annotated[float, Field(ge=0)]  # equal-sized images up to this total are held decoded

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return choice("data set", plugins("datasets"), name)

    @model_validator(mode="after")
    def _watched(self) -> Data:
        expected = [] if self.name in BUNDLED else [self.name]
        if self.watch != expected:
            raise ValueError(
                f"data.watch is {self.watch}, but goes with data.name: set it to {expected}"
            )
        return self


class Augmentation(Section):
    """How a view of an image is made at random; all is drawn per sample."""

    crop_area: tuple[float, float]  # share of the image that a random crop covers
    crop_ratio: tuple[float, float]  # width / height of a random crop
    flip: Probability  # horizontal
    jitter: Probability  # of any colour jitter, with the four strengths below
    brightness: Annotated[float, Field(ge=0)]
    contrast: Annotated[float, Field(ge=0)]
    saturation: Annotated[float, Field(ge=0)]
    hue: Annotated[float, Field(ge=0, le=0.5)]
    grayscale: Probability
    blur: Probability  # Gaussian, sigma in [0.1, 2.0] pixels
    solarize: Probability  # pixels of half the range and above are inverted

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, values: Any) -> Any:
        """YAML has lists only."""
        if not isinstance(values, dict):
            return values
        return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}

    @field_validator("crop_area", "crop_ratio")
    @classmethod
    def _ordered(cls, bounds: tuple[float, float], field: ValidationInfo) -> tuple[float, float]:
        low, high = bounds
        area = field.field_name == "crop_area"
        if not 0 < low <= high or (area and high > 1):
            raise ValueError(f"{low}, {high}: needs 0 < first <= second{' <= 1' if area else ''}")
        return bounds


class Views(Augmentation):
    """The augmentation, and how pixels are normalised."""

    image_size: Annotated[int, Field(ge=4)]  # pixels, edge of a view
    mean: tuple[float, float, float]  # of RGB in [0, 1]
    std: tuple[float, float, float]

    @model_validator(mode="after")
    def _deviations(self) -> Views:
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std}: every value must be above 0")
        return self


class _Changes(Augmentation):
    def on(self, views: Views) -> Views:
        """`views` with these changes."""
        return views.model_copy(update=self.model_dump())

    @model_serializer(mode="wrap")
    def _told(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {k: v for k, v in dump(self).items() if k in self.model_fields_set}


def partial(name: str, base: type[BaseModel], whole: type[BaseModel]) -> Any:
    """A model of some leaves of `whole`, any of which may be left out."""
    return create_model(
        name,
        __base__=base,
        **{
            leaf: (Annotated[(field.annotation, Field(), *field.metadata)], None)
            for leaf, field in whole.model_fields.items()
        },
    )


# What is left out stays as it is in `views`.
ViewChanges = partial("ViewChanges", _Changes, Augmentation)


class Named(Section):
    """The leaf that says by which method an encoder is trained."""

    method: str  # a file of stages/ssl/methods; its own params are a block of methods.yaml

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        return choice("method", plugins("ssl/methods"), method)


GivenName = Annotated[str, Field(min_length=1)] | None


class Start(Section):
    """The leaf of `pretrain` that says from what weights its trainings start."""

    weights: GivenName  # of which the backbone's are taken: a file, a folder, a name; null: random

    @property
    def given(self) -> Given | None:
        return Given("pretrain.weights", self.weights) if self.weights else None


class SamplerStart(Start):
    """The leaves of `sampler` that say from what weights it starts, or whose it is."""

    checkpoint: GivenName  # instead of training: as `weights`, but its projection is kept, too

    @property
    def given(self) -> Given | None:
        if self.checkpoint:
            return Given("sampler.checkpoint", self.checkpoint)
        return Given("sampler.weights", self.weights) if self.weights else None

    @model_validator(mode="after")
    def _trained_or_taken(self) -> SamplerStart:
        if self.checkpoint and self.weights:
            raise ValueError(
                f"checkpoint is {self.checkpoint}, which is the sampler without any training, but "
                f"weights {self.weights} are to be trained: set one of them to null"
            )
        return self


class Training(Named, Start):
    """One training of an instance-discrimination method, whoever asks for it."""

    backbone: str  # resnet10, any torchvision classifier, timm/<name>; see ssl/backbones.py
    stem: Literal["cifar", "imagenet"]  # cifar: 3x3 stride-1 first convolution, no max-pool
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]  # rows per step over all devices together
    precision: Literal["auto", "fp32", "bf16"]  # auto: bf16 on a GPU that has it


class Sampler(Training, SamplerStart):
    # Epochs of the schedule whose first part this is, if arms continue it; null: its own epochs.
    of_epochs: Count | None

    @model_validator(mode="after")
    def _shorter(self) -> Sampler:
        if self.of_epochs is not None and self.of_epochs < self.epochs:
            raise ValueError(
                f"of_epochs {self.of_epochs} is below epochs {self.epochs}: raise it, or set null"
            )
        return self


class Pretrain(Training):
    # sampler: an arm continues the sampler's training, whose epochs then count, as do its steps.
    start: Literal["scratch", "sampler"]
    match_steps: bool  # every arm trains as many optimiser steps as vanilla would
    handover: list[Count]  # epochs after which its state is kept, so that a round can go on there

    @field_validator("handover")
    @classmethod
    def _rising(cls, epochs: list[int]) -> list[int]:
        if epochs != sorted(set(epochs)):
            raise ValueError(f"{epochs}: needs epochs in rising order, each once")
        return epochs


class Embed(Section):
    # A fraction of the training images if a float, a count if an integer; K in the paper.
    k: int | float
    layer: Literal["projection", "backbone"]
    views: Annotated[int, Field(ge=0)]  # random ones, averaged with the un-augmented image
    batch_size: Count  # images per forward pass

    @field_validator("k")
    @classmethod
    def _some(cls, k: int | float) -> int | float:
        if not (k >= 1 if isinstance(k, int) else 0 < k <= 1):
            raise ValueError(f"{k}: needs a fraction in (0.0, 1.0], or a count of at least 1")
        return k


class LinearEval(Section):
    protocol: Literal["cached", "moco"]  # cached: features computed once, without augmentation
    epochs: Count
    lr: Annotated[float, Field(gt=0)]
    milestones: list[int]  # epochs at which lr is divided by ten
    batch_size: Count
    knn_k: Count
    knn_temperature: Annotated[float, Field(gt=0)]
