"""A study as its YAML file says it: which experiments, and what is to be tabulated of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stages.common.errors import SeppError
from stages.common.param_file import read_yaml
from stages.common.sections import Seed
from stages.comparison.differences import value_text

SHIPPED = Path(__file__).resolve().parents[1] / "studies"
OWN = Path("studies")  # of a checkout: its user's
TABLES = Path("reports/studies")  # where they are written
Column = Literal["pairs", "accuracy", "neighbours", "linear", "knn", "hours"]
# What the table's own columns are called.
TAKEN = {"study", "rehearsal", "data_sets", "arm", "state", "experiments", "commits", "devices"}
TAKEN |= set(get_args(Column))
OF_SAMPLERS = ("pairs", "accuracy", "neighbours", "hours")  # what there is without trained arms
Overrides = dict[str, Any]  # values by dotted name, as of `dvc exp run -S`
Label = str | int | float


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Design(_Model):
    """Which experiments: all combinations of choices from the axes of the grid, with each seed."""

    set: Overrides = {}  # what all experiments change of the preset; `preset` is another preset
    # Axes: values of a parameter, `sepp.min: [0.9, 0.95]`, or choices, each with what it changes.
    grid: dict[str, list[Any] | dict[Label, Overrides]] = {}
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]  # each with a sampler of its own

    @field_validator("grid")
    @classmethod
    def _some(cls, grid: dict) -> dict:
        if empty := [axis for axis, choices in grid.items() if not choices]:
            raise ValueError(f"{empty[0]}: has no value; give some, or leave it out")
        if taken := TAKEN & grid.keys():
            raise ValueError(f"{min(taken)}: a column of the table is called so; take another name")
        return grid

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{seeds} names one twice: remove the repeat")
        return seeds

    @model_validator(mode="after")
    def _free(self) -> Design:
        changes = [self.set, *(one for axis in self.axes.values() for one in axis.values())]
        if taken := {"seed", "seeds"} & {key for one in changes for key in one}:
            raise ValueError(f"{min(taken)} is set: the study's own `seeds` decide about both")
        return self

    @property
    def axes(self) -> dict[str, dict[str, Overrides]]:
        """What each choice of each axis changes, by its label."""
        return {
            axis: {value_text(label): changes for label, changes in choices.items()}
            if isinstance(choices, dict)
            else {value_text(value): {axis: value} for value in choices}
            for axis, choices in self.grid.items()
        }


class Elsewhere(Design):
    """The same question on another preset: what is given replaces the study's own."""


class Paper(_Model):
    """Numbers to be set beside ours: by column, row, and arm, or row alone where that has none."""

    source: str  # table and paper
    note: str | None = None  # what is another in the paper
    values: dict[Column, dict[Label, float | dict[str, float]]]

    def value(self, column: str, row: str, arm: str | None) -> float | None:
        for label, told in self.values.get(column, {}).items():
            if value_text(label) == row:
                return (told.get(arm) if arm else None) if isinstance(told, dict) else told
        return None


class Study(Design):
    title: str
    about: str  # what it asks, and how the answer is to be read
    preset: str
    until: Literal["mine"] | None = None  # the last stage: no arm is trained; None: all of them run
    columns: Annotated[list[Column], Field(min_length=1)]
    arms: list[str] | None = None  # that are tabulated; None: all
    paper: Paper | None = None
    also: dict[str, Elsewhere] = {}  # by preset, with `--preset`

    @model_validator(mode="after")
    def _measured(self) -> Study:
        missing = set(self.columns) - set(OF_SAMPLERS)
        if self.until and missing:
            raise ValueError(f"column {min(missing)} needs trained arms, but until is {self.until}")
        return self

    def on(self, preset: str | None) -> Study:
        """The study on `preset`, which is its own or one of `also`; raises SeppError."""
        if preset is None or preset == self.preset:
            return self
        if preset not in self.also:
            known = ", ".join([self.preset, *self.also])
            raise SeppError(f"--preset {preset}: the study is none of that preset; it has {known}")
        there = self.also[preset]
        changes = {name: getattr(there, name) for name in there.model_fields_set}
        return self.model_copy(update={"preset": preset, **changes})


def names() -> dict[str, Path]:
    """All studies by name: those of the package, and the user's own in `studies/`."""
    return {file.stem: file for folder in (SHIPPED, OWN) for file in sorted(folder.glob("*.yaml"))}


def find(name: str) -> tuple[str, Study]:
    """The study of that name, or in that file, and its name; raises SeppError."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        known = names()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise SeppError(f"{name}: no study of that name{meant or '; `sepp study --list`'}")
        path = known[name]
    elif not path.is_file():
        raise SeppError(f"{path}: no such file; `sepp study --list` has the studies that there are")
    return path.stem, read(path)


def read(path: Path) -> Study:
    """The study in `path`, checked; raises SeppError with the first thing that is wrong."""
    values = read_yaml(path)
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        first, *others = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        more = f" (and {len(others)} more)" if others else ""
        where = ".".join(map(str, first["loc"])) or "file"
        raise SeppError(f"{path}: {where}: {_problem(first)}{more}") from None


def _problem(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return f"is nothing that a study has; there are {', '.join(Study.model_fields)}"
    if error["type"] == "missing":
        return "is missing; stages/studies/ has examples"
    if error["type"] == "literal_error" and "columns" in error["loc"]:
        return f"{error['input']!r} is no column; there are {', '.join(get_args(Column))}"
    message = error["msg"].removeprefix("Value error, ")
    return message if error["type"] == "value_error" else f"{error['input']!r}: {message}"
