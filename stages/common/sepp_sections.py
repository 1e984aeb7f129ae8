"""The sections `sepp` and `rounds` of params.yaml: pairs that are mined, and mined again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from stages.common.param_file import validate
from stages.common.plugins import choice, plugins
from stages.common.sections import Count, Probability, Section, partial

Cosine = Annotated[float, Field(ge=-1, le=1)]


class SeppScore(Section):
    """The leaves of `sepp` that decide how similar two images are."""

    transform: Literal["none", "center", "whiten"]  # of the embeddings, before they are compared
    shrinkage: Annotated[float, Field(ge=0)]  # of whitening, times the largest deviation
    neighbours: Annotated[int, Field(ge=0)]  # k of the walks that are compared; 0: embeddings are
    memory: Annotated[float, Field(gt=0, le=2**20)]  # GiB that mining may take


class SeppMining(SeppScore):
    """The leaves of `sepp` that decide which pairs are mined."""

    engine: str  # auto, or a file of stages/mining/engines: all exact but ivf
    min: Cosine  # lowest and highest similarity of a pair, both inclusive
    max: Cosine
    pairs_per_image: Annotated[float, Field(gt=0)] | None  # so many of the highest, instead of min
    max_per_anchor: Count | None  # keep at most so many pairs of an image
    max_pairs: Count | None  # keep at most so many pairs

    @field_validator("engine")
    @classmethod
    def _known(cls, engine: str) -> str:
        return choice("engine", ["auto", *plugins("mining/engines")], engine)

    @model_validator(mode="after")
    def _order(self) -> SeppMining:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: lower min, or raise max")
        return self


class _MiningChanges(SeppMining):
    @model_validator(mode="after")
    def _order(self) -> _MiningChanges:
        return self  # min and max may not both be here

    def on(self, mining: SeppMining, file: Path, key: str) -> SeppMining:
        """`mining` with these changes; raises ParamError, with where they are from, if they do not
        fit it."""
        own = {name: getattr(self, name) for name in self.model_fields_set}
        every = {name: getattr(mining, name) for name in SeppMining.model_fields}
        return validate(file, SeppMining, {**every, **own}, key)


MiningChanges = partial("MiningChanges", _MiningChanges, SeppMining)


class Round(Section):
    """Pairs are mined again with an arm's encoder, and its training goes on with them."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    start: str  # arm or round that it continues: sepp, or the round before
    at: Count  # epoch of that training after which it does; one of pretrain.handover
    sepp: MiningChanges  # leaves of the section sepp that are others in this round; {}: none


class SeppRows(Section):
    """The leaves of `sepp` that decide how pairs become training rows."""

    lambda_: Probability = Field(alias="lambda")  # weight of a semantic row, Eq. 2
    ordered: bool  # both (i, j) and (j, i), as Algorithm 1 read literally
    mask_partners: bool  # images that a row pairs are not each other's negatives


class Sepp(SeppMining, SeppRows):
    pass
