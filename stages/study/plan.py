"""From a study to its experiments: the params of each, and a name that says which it is.

The name holds study, row, seed, and a digest of all params, so that the same study is always the
same experiments, whenever and wherever it is asked for. DVC keeps them by the commit that they
started from, whose code is thereby known, too: what it has of the same code is not run again.
"""

from __future__ import annotations

import io
import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.common.all_params import AllParams
from stages.common.errors import SeppError
from stages.common.param_file import validate
from stages.comparison.differences import applied, flatten, value_text
from stages.recipe.files import files
from stages.recipe.text import with_header
from stages.study.overrides import move, replace, start_from, update
from stages.study.scale import shrink
from stages.study.spec import Overrides, Study
from stages.study.trainings import Training, images, key, trainings

REHEARSAL = "rehearsal-"  # before the names of experiments and files of one
DIGEST = 8  # hex digits
# Sections of which a training's own key has what matters to it; all others may do so to its result.
OF_TRAININGS = ("sampler", "embed", "sepp", "arms", "pretrain", "rounds", "methods")
ALL = "all"  # the one row of a study without a grid


@dataclass(frozen=True)
class Choice:
    """How a study is to be run, where that is another than it says."""

    scale: float | None = None  # of a rehearsal
    preset: str | None = None
    data: str | None = None  # another data set for the recipe
    seeds: Sequence[int] | None = None

    def options(self) -> str:
        """As they are given on the command line."""
        seeds = ",".join(map(str, self.seeds)) if self.seeds else None
        given = {"scale": self.scale, "preset": self.preset, "data": self.data, "seeds": seeds}
        return "".join(f" --{name} {x}" for name, x in given.items() if x is not None)


@dataclass(frozen=True)
class Planned:
    """An experiment of a study: a row with a seed."""

    name: str  # of the experiment
    labels: dict[str, str]  # of the choices, by axis
    seed: int
    base: str  # a preset's text, of which params are a change
    params: dict[str, Any]  # a whole file's
    until: str | None  # the last stage that is to run; None: all of them

    @property
    def row(self) -> str:
        return row_of(self.labels)

    @property
    def arms(self) -> list[str | None]:
        """Arms and rounds; None stands for the pairs alone, where no arm is trained."""
        if self.until:
            return [None]
        return arms_of(self.params)

    def trainings(self, code: Mapping[str, str] | None = None) -> dict[str, Training]:
        return trainings(self.params, self.until, code)

    def key_of(self, arm: str | None) -> str:
        """The same for experiments in which an arm or round is trained, and evaluated, alike."""
        if arm is None:
            return self.name
        rounds = [one["name"] for one in self.params["rounds"]]
        if arm in rounds:
            stage = f"pretrain_again@round{rounds.index(arm)}-{self.seed}"
        else:
            stage = f"pretrain@{arm}-{self.seed}"
        rest = {name: value for name, value in self.params.items() if name not in OF_TRAININGS}
        return key(self.trainings()[stage].key, rest)

    def files(self) -> dict[str, str]:
        """params.yaml and the files beside it, with the comments of the preset."""
        yaml = YAML()
        yaml.width = 100
        whole = yaml.load(self.base)
        update(whole, self.params)
        stream = io.StringIO()
        yaml.dump(whole, stream)
        return files(stream.getvalue())


@dataclass(frozen=True)
class Plan:
    name: str  # of the study, with what is chosen otherwise than it says; of its files
    study: Study
    choice: Choice
    moved: bool  # to another preset or other data
    command: str  # that asks for it
    experiments: list[Planned]  # all rows of a seed together, so that a table is soon whole

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(one.seed for one in self.experiments))


def plan(name: str, study: Study, choice: Choice = Choice(), asked: str | None = None) -> Plan:
    """The experiments of `study`; raises SeppError for an override or a value that is none.

    `asked` is what the command line has in place of the study's name, such as its file.
    """
    preset_moved = choice.preset not in (None, study.preset)
    study = study.on(choice.preset)
    data_moved = choice.data is not None and _data_sets(name, study) != {choice.data}
    elsewhere = [choice.preset] * preset_moved + [choice.data] * data_moved
    rehearsed = choice.scale is not None
    if rehearsed and not 0 < choice.scale < 1:
        raise SeppError(f"--scale {choice.scale:g}: needs to be between 0 and 1, such as 0.02")
    # One seed shows whether all runs.
    usual = study.seeds[:1] if rehearsed else study.seeds
    seeds = choice.seeds or usual
    named = "-".join([f"{REHEARSAL}{name}" if rehearsed else name, *elsewhere])
    rows = [(labels, *_params(name, labels, study, own, choice)) for labels, own in _rows(study)]
    _check_table(name, study, rows)
    found = []
    for seed in seeds:
        for labels, base, params in rows:
            whole = {**params, "seed": seed, "seeds": [seed]}
            validate(Path(_place(name, labels)), AllParams, whole)
            digest = key(applied(flatten(whole)), study.until)[:DIGEST]
            title = "-".join([named, *labels.values(), f"s{seed}", digest])
            # As git takes it for a ref, and a file system for a file.
            short = re.sub(r"[^A-Za-z0-9.]+", "-", title)
            found.append(Planned(short, labels, seed, base, whole, study.until))
    # A table of other seeds is not to take the place of the study's own.
    others = [] if set(seeds) == set(usual) else ["seeds", *map(str, seeds)]
    return Plan(
        name="-".join([named, *others]),
        study=study,
        choice=choice,
        moved=bool(elsewhere),
        command=f"sepp study {shlex.quote(asked or name)}{choice.options()}",
        experiments=found,
    )


def _data_sets(name: str, study: Study) -> set[str]:
    """Those that the study's rows are of."""
    return {
        own.get("data.name") or start_from(own.get("preset", study.preset), name)[1]["data"]["name"]
        for _, own in _rows(study)
    }


def _check_table(name: str, study: Study, rows: Sequence[tuple[dict, str, dict]]) -> None:
    """Raises SeppError for rows that have one name, and for what the table would lack."""
    known = [row_of(labels) for labels, _, _ in rows]
    if twice := [row for row in known if known.count(row) > 1]:
        raise SeppError(f"{name}: two rows are called {twice[0]}: call a choice otherwise")
    arms = {arm for _, _, params in rows for arm in arms_of(params)}
    if missing := set(study.arms or ()) - arms:
        raise SeppError(
            f"{name}: arms: no row has {min(missing)}; there are {', '.join(sorted(arms))}"
        )
    for column, values in (study.paper.values if study.paper else {}).items():
        told_of = {arm for told in values.values() if isinstance(told, dict) for arm in told}
        if strange := ({value_text(label) for label in values} - {*known}) or told_of - arms:
            raise SeppError(
                f"{name}: paper.values.{column}: {min(strange)} is no row, and no arm of one; "
                f"rows are {', '.join(known)}"
            )


def row_of(labels: Mapping[str, str]) -> str:
    return "-".join(labels.values()) or ALL


def arms_of(params: Mapping[str, Any]) -> list[str]:
    """Arms and rounds."""
    return [*params["arms"], *(one["name"] for one in params["rounds"])]


def _rows(study: Study) -> Iterator[tuple[dict[str, str], Overrides]]:
    """The labels of each row, by axis, and what it changes of the preset."""
    for choices in itertools.product(*(axis.items() for axis in study.axes.values())):
        own: Overrides = {}
        for axis, (label, changes) in zip(study.axes, choices, strict=True):
            if twice := own.keys() & changes.keys():
                raise SeppError(f"{axis}: {label} sets {min(twice)}, as another axis does")
            own |= changes
        labels = dict(zip(study.axes, (label for label, _ in choices), strict=True))
        yield labels, {**study.set, **own}


def _place(name: str, labels: Mapping[str, str]) -> str:
    """Where a mistake is."""
    return f"{name} ({', '.join(labels.values())})" if labels else name


def _params(
    name: str, labels: Mapping[str, str], study: Study, own: Overrides, choice: Choice
) -> tuple[str, dict[str, Any]]:
    """The text of the preset that a row is of, and the params that it makes of it."""
    changes, where = dict(own), _place(name, labels)
    base, params = start_from(changes.pop("preset", study.preset), where)
    if choice.data:
        move(params, choice.data)
    for parameter, value in changes.items():
        replace(params, parameter, value, where)
    if choice.scale is not None:
        validate(Path(where), AllParams, params)  # as it is written, which shrinking relies on
        params = shrink(params, choice.scale, images(params["data"]))
        base = with_header(base, [f"A rehearsal, at scale {choice.scale:g}, of {where}."])
    return base, params
