"""All of params.yaml together with the files beside it, and what must hold between its sections.

The blocks of methods.yaml and evaluations.yaml are sections, too: `methods`, and one by the name of
each evaluation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from stages.common.param_file import EVALUATIONS, METHODS
from stages.common.plugins import choice, plugins
from stages.common.sections import (
    Arm,
    Data,
    Embed,
    LinearEval,
    Pretrain,
    Sampler,
    Seed,
    Views,
)
from stages.common.sepp_sections import Round, Sepp

Blocks = dict[str, dict[str, Any]]  # of params, by name


class _Sections(BaseModel):
    """All but the blocks of evaluations, whose names are those of their files."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    data: Data
    views: Views
    seed: Seed
    sampler: Sampler
    embed: Embed
    sepp: Sepp
    arms: Annotated[list[Arm], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    pretrain: Pretrain
    rounds: list[Round]
    watch: list[Literal["sampler", "pretrain"]]  # whose given weights are a file or folder
    methods: Blocks  # each checked by its method's own file, which needs torch
    linear_eval: LinearEval
    evaluations: list[str]  # files of stages/evaluation, which run beside linear_eval

    @field_validator("arms", "seeds", "evaluations")
    @classmethod
    def _different(cls, values: list) -> list:
        if len(set(values)) < len(values):
            raise ValueError(f"{values} names one twice: remove the repeat")
        return values

    @model_validator(mode="after")
    def _watched(self) -> _Sections:
        given = {"sampler": self.sampler.given, "pretrain": self.pretrain.given}
        expected = [section for section, one in given.items() if one and not one.is_named]
        if self.watch != expected:
            told = " and ".join(f"{one.leaf} is {one.name}" for one in given.values() if one)
            raise ValueError(
                f"watch is [{', '.join(self.watch)}], but {told or 'no weights are given'}: set it "
                f"to [{', '.join(expected)}]"
            )
        return self

    @model_validator(mode="after")
    def _one_schedule(self) -> _Sections:
        """What continues a training shares its schedule, which counts vanilla's steps."""
        warm = self.pretrain.start == "sampler"
        if not self.pretrain.match_steps and (warm or self.rounds):
            what = "pretrain.start is sampler" if warm else "there are rounds"
            instead = "pretrain.start to scratch" if warm else "rounds to []"
            raise ValueError(
                f"pretrain.match_steps is false, but {what}, whose one schedule counts vanilla's "
                f"steps: set it to true, or {instead}"
            )
        return self

    @model_validator(mode="after")
    def _continued(self) -> _Sections:
        """A warm start goes on with the same network, method, and schedule."""
        sampler, arms = self.sampler, self.pretrain
        if arms.start != "sampler":
            return self
        if sampler.checkpoint is not None:
            raise ValueError(
                "pretrain.start is sampler, which sampler.checkpoint cannot be continued as: set "
                "the one to scratch or the other to null"
            )
        if arms.given:
            raise ValueError(
                f"pretrain.weights is {arms.given.name}, but pretrain.start is sampler, from whose "
                "weights arms then go on: set it to null, or pretrain.start to scratch"
            )
        for leaf in ("method", "backbone", "stem", "batch_size"):
            own, theirs = getattr(arms, leaf), getattr(sampler, leaf)
            if own != theirs:
                raise ValueError(
                    f"pretrain.{leaf} is {own}, but pretrain.start is sampler, whose is {theirs}: "
                    "set both alike"
                )
        if sampler.of_epochs != arms.epochs or sampler.epochs >= arms.epochs:
            raise ValueError(
                f"pretrain.epochs is {arms.epochs}, but pretrain.start is sampler, which trains "
                f"{sampler.epochs} of sampler.of_epochs {sampler.of_epochs}: set sampler.of_epochs "
                "to pretrain.epochs, and sampler.epochs below both"
            )
        return self

    @model_validator(mode="after")
    def _chained(self) -> _Sections:
        """Each round goes on from where an arm or an earlier round has left its state."""
        since = {"sepp": self.sampler.epochs if self.pretrain.start == "sampler" else 0}
        for place, one in enumerate(self.rounds):
            key = f"rounds[{place}]"
            if one.name in since or one.name in get_args(Arm):
                raise ValueError(f"{key}.name is {one.name}, which is taken: choose another")
            if one.start not in since or (one.start == "sepp" and "sepp" not in self.arms):
                known = ", ".join(name for name in since if name != "sepp" or name in self.arms)
                raise ValueError(
                    f"{key}.start is {one.start}: needs to be sepp, if that is in arms, or an "
                    f"earlier round; there are {known or 'none'}"
                )
            if one.at not in self.pretrain.handover:
                raise ValueError(
                    f"{key}.at is {one.at}, but pretrain.handover {self.pretrain.handover}: add "
                    "the epoch to it, so that the state is kept"
                )
            if not since[one.start] < one.at < self.pretrain.epochs:
                raise ValueError(
                    f"{key}.at is {one.at}: needs to be above {since[one.start]}, where "
                    f"{one.start} begins, and below pretrain.epochs {self.pretrain.epochs}"
                )
            one.sepp.on(self.sepp, Path("params.yaml"), f"{key}.sepp")
            since[one.name] = one.at
        return self

    @field_validator("methods")
    @classmethod
    def _complete(cls, methods: Blocks, others: ValidationInfo) -> Blocks:
        for section in ("sampler", "pretrain"):
            training = others.data.get(section)  # None if it has errors of its own
            if training and training.method not in methods:
                raise ValueError(
                    f"{METHODS} has no block {training.method}, which {section}.method names; "
                    "`sepp preset NAME` writes all"
                )
        return methods

    @field_validator("evaluations")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        return [choice("evaluation", plugins("evaluation"), name) for name in names]

    @model_validator(mode="after")
    def _described(self) -> _Sections:
        """DVC tracks the block of an evaluation that runs, and so does not do without it."""
        for name in self.evaluations:
            if getattr(self, name) is None:
                raise ValueError(
                    f"{EVALUATIONS} has no block {name}, which evaluations names; `{name}: {{}}` "
                    "takes the defaults, and `sepp preset NAME` writes all"
                )
        return self


# Each block is checked by its evaluation's own file, which needs torch.
AllParams = create_model(
    "AllParams",
    __base__=_Sections,
    **dict.fromkeys(plugins("evaluation"), (dict[str, Any] | None, None)),
)
