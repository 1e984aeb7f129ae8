"""A study as a table: for each row and arm what was measured over the seeds, beside the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from stages.reporting.statistics import Gain, holm, paired_gain
from stages.reporting.summary import BASELINE
from stages.study.plan import Plan
from stages.study.results import DONE, Outcome

GAINS = ("linear", "knn")  # columns of which there is a gain over vanilla
ANY = "any"  # a label where an arm is the same whatever is chosen
STATES = 60  # characters of a reason that a table has room for


class Cell(NamedTuple):
    """A column of a row."""

    measured: Gain | None  # mean over the seeds of what was measured, and its 95 % t interval
    seeds: dict[int, float]  # what that is of
    gain: Gain | None  # mean of the paired differences to vanilla; p is Holm's over the table
    paper: float | None
    paper_gain: float | None


@dataclass(frozen=True)
class Line:
    """A row of the grid and an arm."""

    labels: dict[str, str]
    arm: str | None  # None: the pairs alone
    cells: dict[str, Cell]
    planned: int  # seeds
    states: list[str]  # of its experiments, each once, but for `done`
    experiments: list[str]  # names, one a seed
    commits: list[str]  # of those that have results
    devices: list[str]  # that their stages ran on


def lines(plan: Plan, found: Sequence[Outcome]) -> list[Line]:
    """All rows of the table, also those of which nothing has run.

    An arm that is the same in several rows, as vanilla is for each threshold, is there once.
    """
    rows: dict[str, list[Outcome]] = {}
    for outcome in found:
        rows.setdefault(outcome.planned.row, []).append(outcome)
    alike: dict[str, list[tuple[list[Outcome], str | None]]] = {}  # by training
    for outcomes in rows.values():
        for arm in outcomes[0].planned.arms:
            if not plan.study.arms or arm in plan.study.arms:
                same = outcomes[0].planned.key_of(arm)
                alike.setdefault(same, []).append((outcomes, arm))
    return _corrected([_line(plan, same) for same in alike.values()])


def _line(plan: Plan, same: Sequence[tuple[list[Outcome], str | None]]) -> Line:
    """Of an arm in one row, or in several in which it is the same; of each seed what has run."""
    arm, rows = same[0][1], [outcomes for outcomes, _ in same]
    first = [outcomes[0].planned for outcomes in rows]
    labels = {}
    for axis, label in first[0].labels.items():
        labels[axis] = label if len({one.labels[axis] for one in first}) == 1 else ANY
    outcomes = [min(seed, key=_preference) for seed in zip(*rows, strict=True)]
    names = [one.row for one in first]
    states = [_state(outcome) for outcome in outcomes]
    return Line(
        labels=labels,
        arm=arm,
        cells={column: _cell(plan, outcomes, column, arm, names) for column in plan.study.columns},
        planned=len(outcomes),
        states=[state for state in dict.fromkeys(states) if state],
        experiments=[outcome.planned.name for outcome in outcomes],
        commits=[outcome.commit for outcome in outcomes if outcome.commit],
        devices=devices(cost for outcome in outcomes for cost in outcome.costs.values()),
    )


def _preference(outcome: Outcome) -> int:
    """Of several experiments in which an arm is the same: one of this code, or one that has run."""
    return 0 if outcome.state == DONE else 1 if outcome.measured else 2


def _state(outcome: Outcome) -> str:
    """What is to be said of an experiment; nothing if it has run."""
    if outcome.measured:
        return outcome.note or ""
    return f"{outcome.state}: {outcome.note}"[:STATES] if outcome.note else outcome.state


def _cell(
    plan: Plan, outcomes: Sequence[Outcome], column: str, arm: str | None, rows: Sequence[str]
) -> Cell:
    seeds, differences = {}, []
    for outcome in outcomes:
        own = outcome.values.get(arm, {}).get(column)
        base = outcome.values.get(BASELINE, {}).get(column)
        if own is None:
            continue
        seeds[outcome.planned.seed] = own
        if column in GAINS and arm != BASELINE and base is not None:
            differences.append(own - base)
    told, theirs = (_paper(plan, column, rows, of) for of in (arm, BASELINE))
    gains = column in GAINS and arm != BASELINE and None not in (told, theirs)
    return Cell(
        measured=paired_gain(list(seeds.values())) if seeds else None,
        seeds=seeds,
        gain=paired_gain(differences) if differences else None,
        paper=told,
        paper_gain=told - theirs if gains else None,
    )


def _paper(plan: Plan, column: str, rows: Sequence[str], arm: str | None) -> float | None:
    """The paper's number, from the first of `rows` of which it has one."""
    paper = plan.study.paper
    values = (paper.value(column, row, arm) for row in rows) if paper else ()
    return next((value for value in values if value is not None), None)


def _corrected(table: list[Line]) -> list[Line]:
    """With Holm's p of each gain, over all gains in a column."""
    for column in GAINS:
        tests = {
            str(place): line.cells[column].gain
            for place, line in enumerate(table)
            if column in line.cells and line.cells[column].gain
        }
        for place, p in holm({name: gain.p for name, gain in tests.items()}).items():
            line = table[int(place)]
            cell = line.cells[column]._replace(gain=tests[place]._replace(p=p))
            table[int(place)] = replace(line, cells={**line.cells, column: cell})
    return table


class Spent(NamedTuple):
    """What all stages of a study took together; what DVC restored is counted once."""

    hours: float
    devices: list[str]
    peak_mib: int  # the highest of a process
    peak_gpu_mib: int  # the highest of a GPU; 0: none was used


def spent(found: Sequence[Outcome]) -> Spent | None:
    """None where no stage has told."""
    # A stage that DVC restored has the cost of the run that made it, to the last digit.
    every = {
        (file, *sorted((key, str(value)) for key, value in cost.items())): cost
        for outcome in found
        for file, cost in outcome.costs.items()
    }
    costs = list(every.values())
    if not costs:
        return None
    return Spent(
        hours=sum(cost["seconds"] for cost in costs) / 3600,
        devices=devices(costs),
        peak_mib=max(cost["peak_memory_mib"] or 0 for cost in costs),
        peak_gpu_mib=max(cost["peak_gpu_memory_mib"] or 0 for cost in costs),
    )


def devices(costs: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({cost["device"] for cost in costs})
