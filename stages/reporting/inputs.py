"""Reading what the stages measured, checked, so that the report never shows half a result."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.common import artifacts
from stages.common.errors import ArtifactError

Rows = list[dict[str, float | None]]
Runs = dict[str, list[dict]]  # the evaluations of each arm, one a seed
LENGTH = ("rows", "batch_size", "steps", "steps_before")  # what tells where epochs of an arm end


def read_mining(path: Path, stage: str = "mine") -> dict:
    """The metrics of the mined pairs; raises ArtifactError unless they are whole."""
    mining = artifacts.read_json(path, stage)
    _require(path, mining, ("count", "accuracy", "chance", "anchors_covered", "images"), stage)
    return mining


def read_sampler(path: Path) -> dict:
    """How long the sampler was trained, all None if not here; raises ArtifactError."""
    facts = artifacts.read_json(path, "sampler")
    _require(path, facts, ("method", "epochs", "steps", "rows_seen"), "sampler")
    return facts


class Mined(NamedTuple):
    """A round: pairs that were mined again."""

    start: str  # with what this arm or round had become
    at: int  # after this epoch
    metrics: list[dict]  # of the pairs, one a seed


def read_round(folder: Path, name: str, suffix: str, seeds: Sequence[int]) -> list[dict]:
    """The metrics of the pairs of a round, of each seed; raises ArtifactError."""
    return [read_mining(folder / f"{name}-{seed}.json", f"mine{suffix}-{seed}") for seed in seeds]


def read_evaluations(folder: Path, arms: Mapping[str, str], seeds: Sequence[int]) -> Runs:
    """The evaluation of each arm and seed, in that order; other files in `folder` are old.

    `arms` has what follows the name of a stage where DVC calls that of an arm: ``@vanilla``.
    Raises ArtifactError if one is missing, does not say how long the training was, or holds neither
    its numbers nor why it has none.
    """
    runs: Runs = {}
    for arm, suffix in arms.items():
        runs[arm] = []
        for seed in seeds:
            path, stage = folder / f"{arm}-{seed}.json", f"linear_eval{suffix}-{seed}"
            result = artifacts.read_json(path, stage)
            _require(path, result, LENGTH, stage)
            if "skipped" not in result:
                _require(path, result, ("linear_top1", "knn_top1"), stage)
            runs[arm].append({**result, "seed": seed})
    return runs


def read_further(
    folder: Path, evaluations: Sequence[str], arms: Mapping[str, str], seeds: Sequence[int]
) -> dict[str, Runs]:
    """What each of `evaluations` found of each arm and seed; see `read_evaluations`.

    Raises ArtifactError if one is missing, or does not hold the numbers that it names.
    """
    further: dict[str, Runs] = {name: {arm: [] for arm in arms} for name in evaluations}
    for name, runs in further.items():
        for arm, suffix in arms.items():
            for seed in seeds:
                path = folder / name / f"{arm}-{seed}.json"
                stage = f"evaluate{suffix.replace('@', f'@{name}-')}-{seed}"
                result = artifacts.read_json(path, stage)
                _require(path, result, ("reported",), stage)
                _require(path, result, [number for number, _ in result["reported"]], stage)
                runs[arm].append({**result, "seed": seed})
    return further


def read_histories(folder: Path, arms: Mapping[str, str], runs: Runs) -> dict[str, list[Rows]]:
    """The training curve of each arm and seed in `runs`: one row an epoch, by optimiser steps."""
    histories: dict[str, list[Rows]] = {arm: [] for arm in arms}
    for arm, suffix in arms.items():
        for run in runs[arm]:
            name = f"{arm}-{run['seed']}.csv"
            rows = read_rows(folder / name, f"pretrain{suffix}-{run['seed']}", ("epoch", "loss"))
            rows_an_epoch, batch_size, steps, before = (run[key] for key in LENGTH)
            histories[arm].append(by_step(rows, rows_an_epoch // batch_size, steps, before))
    return histories


def read_sampler_history(path: Path, facts: dict) -> Rows:
    """The sampler's training curve, by optimiser steps; empty if it was not trained here."""
    rows = read_rows(path, "sampler", ("epoch", "loss"))
    steps = facts["steps"]
    return by_step(rows, steps // facts["epochs"], steps) if steps else []


def by_step(history: Rows, per_epoch: int, steps: int, before: int = 0) -> Rows:
    """Each row with `step`: after how many optimiser steps of the whole training its epoch ended.

    An epoch is a pass over an arm's own rows, and so takes as long as these are many: `per_epoch`
    steps, but for a last one that is cut short after `steps` in all. `before` are those of what the
    training continues.
    """
    return [
        {**row, "step": before + min(number * per_epoch, steps)}
        for number, row in enumerate(history, 1)
    ]


def read_rows(path: Path, stage: str, columns: Sequence[str]) -> Rows:
    """The rows of a CSV of numbers; an empty cell is None. Raises ArtifactError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        numbers = [
            {key: float(cell) if cell else None for key, cell in row.items()} for row in rows
        ]
    except FileNotFoundError:
        raise ArtifactError(path, "is missing", stage) from None
    except (ValueError, TypeError) as error:
        raise ArtifactError(path, f"is not a table of numbers ({error})", stage) from None
    for row in numbers:
        _require(path, row, columns, stage)
    return numbers


def _require(path: Path, values: dict, keys: Sequence[str], stage: str) -> None:
    missing = [key for key in keys if key not in values]
    if missing:
        raise ArtifactError(path, f"does not say {', '.join(missing)}", stage)
