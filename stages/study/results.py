"""What there is of a study's experiments: their states, and what has been measured in each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from stages.common.cost import cost_path, facts_of
from stages.common.errors import SeppError
from stages.comparison import experiments, revisions
from stages.comparison.experiments import Experiment
from stages.comparison.revisions import Revision
from stages.reporting.summary import BASELINE
from stages.study import claims
from stages.study.code import code_of
from stages.study.job import failure_of
from stages.study.plan import Plan, Planned

MINED = "reports/metrics/mine.json"
DONE, OTHER_CODE, FAILED, RUNNING, WAITING = "done", "done, other code", "failed", "runs", "not run"
ALONE = (BASELINE, "duplicate", "random", "oracle")  # arms whose pairs nothing has found
Values = dict[str, float]  # by column; what is not known is not there
Texts = Mapping[tuple[str, str], str]


class Outcome(NamedTuple):
    """An experiment of a study, and what is known of it."""

    planned: Planned
    state: str
    commit: str | None = None  # of its results
    note: str | None = None  # what is the matter with them, or why there are none
    values: Mapping[str | None, Values] = {}  # by arm; None: of the pairs alone
    costs: Mapping[str, dict] = {}  # by file; `common.cost` says what is in it

    @property
    def measured(self) -> bool:
        return self.commit is not None


def outcomes(plan: Plan) -> list[Outcome]:
    """Of each experiment, in the plan's order; those that have not run are there, too."""
    every: dict[str, list[Revision]] = {}
    for revision in revisions.experiments():
        every.setdefault(revision.name, []).append(revision)
    chosen: dict[str, tuple[Revision, bool]] = {}
    for one in plan.experiments:
        if found := every.get(one.name):  # the last one, if it can be of this code
            same = [revision for revision in found if _is_of_this_code(revision, one)]
            chosen[one.name] = (same or found)[-1], bool(same)
    files = sorted(
        {file for one in plan.experiments for file in (MINED, *_tables(one), *_costs(one))}
    )
    texts = revisions.contents([r.commit for r, _ in chosen.values()], files) if chosen else {}
    summaries = _summaries(plan, [revision for revision, _ in chosen.values()])
    return [
        _outcome(one, *chosen[one.name], texts, summaries)
        if one.name in chosen
        else _unfinished(one)
        for one in plan.experiments
    ]


def head() -> str:
    """The commit that experiments of today start from; raises SeppError before the first."""
    if (commit := revisions.head()) is None:
        raise SeppError("there is no commit yet, which experiments start from: `git commit` first")
    return commit


def _is_of_this_code(revision: Revision, one: Planned) -> bool:
    return code_of(revision.baseline, one.params) == code_of(head(), one.params)


def _unfinished(one: Planned) -> Outcome:
    if claims.running(one.name):
        return Outcome(one, RUNNING)
    failure = failure_of(one.name)
    if failure.exists():
        return Outcome(one, FAILED, note=failure.read_text())
    return Outcome(one, WAITING)


def _summaries(
    plan: Plan, chosen: Sequence[Revision]
) -> dict[str, Experiment | experiments.LeftOut]:
    """What the report of each experiment says, by its name; of pairs alone there is none."""
    if plan.study.until:
        return {}
    found, left_out = experiments.load(chosen, lambda: None)
    return {one.name: one for one in (*found, *left_out)}


def _outcome(
    one: Planned, revision: Revision, same: bool, texts: Texts, summaries: Mapping
) -> Outcome:
    def text(file: str) -> str | None:
        return texts.get((revision.commit, file))

    costs = {file: facts_of(text(file)) for file in _costs(one) if text(file)}
    state = DONE if same else OTHER_CODE
    note = None if same else f"of the code of {revision.baseline[:7]}"
    if one.until:
        values = {None: _pairs(json.loads(text(MINED)))} if text(MINED) else {None: {}}
    else:
        read = summaries[one.name]
        if not isinstance(read, Experiment):
            return Outcome(one, FAILED, note=read.reason)
        values = {arm: _arm(read.summary, arm) for arm in one.arms}
        note = f"changed since: {read.changed}" if read.changed else note
    for arm in values:
        values[arm] |= _neighbours(text(_table(arm, one.seed))) | _hours(one, arm, costs)
    return Outcome(one, state, revision.commit, note, values, costs)


def _arm(summary: dict, arm: str) -> Values:
    """What a report says of one arm, the mean of its seeds where it has several."""
    found: Values = {}
    for column, name in (("linear", "top1"), ("knn", "knn")):
        if several := summary["arms"].get(arm, {}).get(name):
            found[column] = fmean(several)
    if arm == BASELINE:
        return {**found, "pairs": 0}
    pairs = _pairs(summary["rounds"].get(arm, summary["pairs"]))
    return {**found, **({"pairs": pairs["pairs"]} if arm in ALONE else pairs)}


def _pairs(mined: dict) -> Values:
    right = {} if mined["accuracy"] is None else {"accuracy": 100 * mined["accuracy"]}
    return {"pairs": mined["count"], **right}


def _table(arm: str | None, seed: int) -> str:
    """The training curve of an arm, or of the sampler."""
    return f"reports/plots/pretrain/{arm}-{seed}.csv" if arm else "reports/plots/sampler.csv"


def _tables(one: Planned) -> list[str]:
    return [_table(arm, one.seed) for arm in one.arms]


def _neighbours(table: str | None) -> Values:
    """How many of the neighbours that a method picked in its last epoch were right, in %."""
    rows = list(csv.DictReader(io.StringIO(table or "")))
    share = rows[-1].get("neighbour_accuracy") if rows else None
    return {"neighbours": 100 * float(share)} if share else {}


def _costs(one: Planned) -> list[str]:
    """Where all stages say what they cost."""
    items = [f"{arm}-{one.seed}" for arm in one.arms if arm]
    rounds = [f"{again['name']}-{one.seed}" for again in one.params["rounds"] if not one.until]
    # Of pairs alone there is no report; what one cost that git has is of other experiments.
    alone = ("prepare", "sampler", *(() if one.until else ("explore", "report")))
    mined = [(stage, item) for stage in ("embed", "mine") for item in (None, *rounds)]
    armed = [(stage, item) for stage in ("combine", "pretrain", "linear_eval") for item in items]
    further = [
        ("evaluations", f"{name}/{item}") for name in one.params["evaluations"] for item in items
    ]
    every = (*((stage, None) for stage in alone), *mined, *armed, *further)
    return [str(cost_path(*place)) for place in every]


def _hours(one: Planned, arm: str | None, costs: Mapping[str, dict]) -> Values:
    """Of an arm's own training, and of embedding and mining the pairs that it needs; of pairs
    alone, those of the sampler's training with it."""
    item = f"{arm}-{one.seed}"
    own = item if arm in {again["name"] for again in one.params["rounds"]} else None
    mining = [] if arm == BASELINE else [cost_path("embed", own), cost_path("mine", own)]
    training = cost_path("pretrain", item) if arm else cost_path("sampler")
    needed = [costs.get(str(path)) for path in (training, *mining)]
    return {} if None in needed else {"hours": sum(cost["seconds"] for cost in needed) / 3600}
