"""What is set side by side: params and summary of each experiment, or why it has none."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, ValidationError
from ruamel.yaml import YAML, YAMLError

from stages.common.param_file import EVALUATIONS, METHODS, PARAMS
from stages.comparison.differences import Leaves, leaves_of
from stages.comparison.lock import outdated
from stages.comparison.revisions import WORKSPACE, LeftOut, Revision, contents
from stages.reporting.freshness import listed

SUMMARY, LOCK = "reports/summary.json", "dvc.lock"
FILES = (PARAMS, METHODS, EVALUATIONS, SUMMARY, LOCK)


class Experiment(NamedTuple):
    name: str
    params: Leaves
    summary: dict  # as the stage report wrote it
    changed: str | None = None  # what has changed since the results were made
    baseline: str | None = None  # the commit that it started from


class _Difference(BaseModel):
    mean: float
    low: float | None
    high: float | None
    p: float | None
    n: int


class _Gain(BaseModel):
    linear: _Difference
    knn: _Difference
    steps: float | None


class _Arm(BaseModel):
    steps: int | None


class _Pairs(BaseModel):
    count: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    chance: float | None
    note: str | None = None


class _Summary(BaseModel):
    """What is compared of a summary; one of another version may lack some of it."""

    pairs: _Pairs
    arms: Annotated[dict[str, _Arm], Field(min_length=1)]
    gain: dict[str, _Gain | None]


def load(
    revisions: Sequence[Revision], stale: Callable[[], str | None]
) -> tuple[list[Experiment], list[LeftOut]]:
    """The experiments that have results, in their order, and those that have none.

    `stale` tells what has changed in the workspace since its results were made.
    """
    texts = contents([r.commit for r in revisions if r.commit], FILES)
    found, left_out = [], []
    for revision in revisions:
        files = {
            file: _on_disk(file) if revision.commit is None else texts.get((revision.commit, file))
            for file in FILES
        }
        read = _read(revision, files)
        if isinstance(read, Experiment) and revision.commit is None:
            read = read._replace(changed=stale())
        (found if isinstance(read, Experiment) else left_out).append(read)
    return found, left_out


def _on_disk(file: str) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _read(revision: Revision, files: dict[str, str | None]) -> Experiment | LeftOut:
    name = revision.name
    for file in (PARAMS, SUMMARY):
        if files[file] is None:
            remedy = "; `dvc repro` makes it" if name == WORKSPACE and file == SUMMARY else ""
            return LeftOut(name, f"has no {file}{remedy}")
    params = {}
    for file in (PARAMS, METHODS, EVALUATIONS):
        if files[file] is None:  # all was in params.yaml
            continue
        try:
            params[file] = YAML(typ="safe").load(files[file])
        except YAMLError:
            return LeftOut(name, f"its {file} is not YAML")
        if not isinstance(params[file], dict):
            return LeftOut(name, f"its {file} has no parameters")
    try:
        summary = json.loads(files[SUMMARY])
        _Summary.model_validate(summary)
    except ValidationError:
        return LeftOut(name, f"its {SUMMARY} was written by another version")
    except ValueError:
        return LeftOut(name, f"its {SUMMARY} is not JSON")
    leaves = leaves_of(params)
    # Of the workspace DVC knows more than its lock tells.
    changed = listed(outdated(leaves, files[LOCK] or "")) if revision.commit else None
    return Experiment(name, leaves, summary, changed, revision.baseline)


def merged(found: Sequence[Experiment]) -> list[Experiment]:
    """`found`, but one row for the workspace, or HEAD, and what has the same params and results, as
    an experiment has after `dvc exp run`."""
    rows: list[Experiment] = []
    # The last first: HEAD joins an experiment, and the workspace either of them.
    for one in reversed(found):
        own = one.baseline is None
        place = next((i for i, row in enumerate(rows) if own and row[1:3] == one[1:3]), None)
        if place is None:
            rows.insert(0, one)
            continue
        row = rows[place]
        changed = row.changed or (one.changed and f"in the {one.name}, {one.changed}")
        rows[place] = row._replace(name=f"{row.name}, {one.name}", changed=changed)
    return rows
