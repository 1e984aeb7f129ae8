"""Further evaluations: the numbers of each, the gains in them, and what may be said of these."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean, stdev
from typing import NamedTuple

from stages.reporting.inputs import Runs
from stages.reporting.statistics import paired_gains


class Line(NamedTuple):
    """One number of one arm, for a table."""

    title: str
    arm: str
    mean: float
    deviation: float | None
    gain: dict | None  # to the baseline


def summarise_each(further: Mapping[str, Runs], baseline: str) -> dict[str, dict]:
    """Of each evaluation: titles, (name, title) of its numbers in order; arms, of each arm and
    number the mean, the sample standard deviation, and the values of its n seeds; gain, of each arm
    and number the paired gain (p Holm-corrected over the arms, for each number by itself); notes,
    and why an arm has no numbers. Numbers that no arm has are left out."""
    return {name: _summarise(runs, baseline) for name, runs in further.items()}


def _summarise(runs: Runs, baseline: str) -> dict:
    titles = {name: title for own in runs.values() for r in own for name, title in r["reported"]}
    arms: dict[str, dict] = {arm: {} for arm in runs}
    gain: dict[str, dict] = {arm: {} for arm in runs if arm != baseline}
    for name in titles:
        values = {arm: {r["seed"]: r[name] for r in own if name in r} for arm, own in runs.items()}
        for arm, own in values.items():
            if own:
                arms[arm][name] = _statistics(list(own.values()))
        for arm, found in paired_gains(values, baseline).items() if baseline in values else ():
            gain[arm][name] = found
    return {"titles": list(titles.items()), "arms": arms, "gain": gain, "notes": _notes(runs)}


def _statistics(values: list[float]) -> dict:
    deviation = round(stdev(values), 6) if len(values) > 1 else None
    rounded = [round(value, 6) for value in values]
    return {"mean": round(fmean(values), 6), "std": deviation, "n": len(values), "values": rounded}


def _notes(runs: Runs) -> list[str]:
    """Each once, and where it is not of all, of which arms and seeds it is."""
    seeds: dict[str, dict[str, list[int]]] = {}  # by note and arm
    for arm, own in runs.items():
        for run in own:
            note = f"not evaluated: {run['skipped']}" if "skipped" in run else run.get("note")
            if note:
                seeds.setdefault(note, {}).setdefault(arm, []).append(run["seed"])
    every = {arm: [run["seed"] for run in own] for arm, own in runs.items()}
    return [note if of == every else f"{_whose(of, every)}: {note}" for note, of in seeds.items()]


def _whose(seeds: dict[str, list[int]], every: dict[str, list[int]]) -> str:
    """Arms, and of those of which it is not all the seeds these."""
    told = []
    for arm, own in seeds.items():
        some = f" (seed{'s' * (len(own) > 1)} {', '.join(map(str, own))})"
        told.append(arm + some * (own != every[arm]))
    return ", ".join(told)


def lines(evaluation: dict) -> list[Line]:
    """The numbers of an evaluation in a summary, number by number and arm by arm."""
    arms, gain = evaluation["arms"], evaluation["gain"]
    return [
        Line(title, arm, own[name]["mean"], own[name]["std"], gain.get(arm, {}).get(name))
        for name, title in evaluation["titles"]
        for arm, own in arms.items()
        if name in own
    ]


def caution(summary: dict) -> str | None:
    """What so many numbers ask for; None without any interval."""
    gains = [gain for one in summary["evaluations"].values() for gain in one["gain"].values()]
    if all(found["p"] is None for gain in gains for found in gain.values()):
        return None
    return (
        "Further evaluations: Holm's correction is over the arms compared, for each number by "
        "itself, so that of twenty numbers without any true gain one shows one by chance."
    )
