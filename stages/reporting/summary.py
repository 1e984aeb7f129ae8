"""The numbers of the experiment: the pairs, each arm, and the gain of each arm over vanilla."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from statistics import fmean, stdev

from stages.reporting.further import summarise_each
from stages.reporting.inputs import Mined, Runs
from stages.reporting.statistics import ALPHA, binomial_error, fieller, paired_gains

BASELINE, BOUND = "vanilla", "oracle"
SCORES = {"linear": "linear_top1", "knn": "knn_top1"}  # name in the summary, in an evaluation
PAIRS = (
    *("count", "accuracy", "accuracy_low", "accuracy_high"),
    *("judged", "chance", "anchors_covered"),
)


def summarise(
    data: dict,
    mining: dict,
    runs: Runs,
    sampler: dict | None = None,
    rounds: Mapping[str, Mined] | None = None,
    further: Mapping[str, Runs] | None = None,
) -> dict:
    """What was found and what it was worth.

    data: name, training and test images. pairs: count, accuracy with its 95 % interval, the
    accuracy of random pairs (shares), judged, how many it is over, anchors_covered. arms: of each,
    the mean and the sample standard deviation over n seeds of linear and of kNN top-1, in percent,
    the values of each seed, the optimiser steps, the epochs, and the rows seen, those of what was
    continued included. gain:
    of each arm but vanilla, for linear and knn: mean of the paired differences to vanilla, their
    95 % t interval, p (Holm-corrected over the arms), n, and the differences, in points; and steps,
    how many times vanilla's. There, where the arm oracle ran, oracle_share of each other arm: its
    mean gain by the oracle's, of the seeds that both have, with Fieller's interval; that is null
    where the oracle's own gain is not significantly above 0, and all is where it is not above 0.
    rounds: of each, whose pairs were mined again with what start had become after the epoch at:
    means over seeds of count, accuracy and anchors_covered; it is an arm, too.
    sampler: method, epochs and rows_seen (null if not trained here); continued, whether the arms'
    rows include them; equal_epochs, what vanilla would have had of as many rows as sepp and the
    sampler saw together. test_error: half the 95 % interval of vanilla's linear top-1 by the choice
    of test images, in points. evaluations: what `further.summarise_each` says of each further one.
    Where there is no number, it is null and ``note`` says why. Lists are
    for programs: DVC leaves them out of `dvc metrics diff`.
    """
    pairs = {key: mining.get(key) for key in PAIRS}
    if mining["accuracy"] is None or "note" in mining:  # none, or of some of the pairs alone
        pairs["note"] = mining.get("note", "the images of the pairs have no labels")
    arms = {arm: _statistics(results) for arm, results in runs.items()}
    return {
        "data": data,
        "pairs": pairs,
        "arms": arms,
        "gain": _gains(runs, arms) if BASELINE in arms else {},
        "rounds": {name: _mined(mined) for name, mined in (rounds or {}).items()},
        "sampler": _sampler(sampler or {}, runs, arms, rounds or {}),
        "test_error": _test_error(arms, runs),
        "evaluations": summarise_each(further or {}, BASELINE),
    }


def _measured(results: list[dict]) -> list[dict]:
    return [result for result in results if "skipped" not in result]


def _statistics(results: list[dict]) -> dict:
    measured = _measured(results)
    numbers: dict[str, object] = {}
    for name, key in (("top1", "linear_top1"), ("knn", "knn_top1")):
        values = [result[key] for result in measured]
        numbers[f"{name}_mean"] = round(fmean(values), 6) if values else None
        numbers[f"{name}_std"] = round(stdev(values), 6) if len(values) > 1 else None
        numbers[name] = [round(value, 6) for value in values]
    numbers["n"] = len(measured)
    numbers["seeds"] = [result["seed"] for result in measured]
    steps = {_steps(result) for result in results} - {None}
    numbers["steps"] = max(steps) if steps else None
    epochs = {result.get("epochs") for result in results} - {None}
    numbers["epochs"] = max(epochs) if epochs else None
    seen = {_rows_seen(result) for result in results} - {None}
    numbers["rows_seen"] = max(seen) if seen else None
    if len(measured) < len(results):
        numbers["note"] = next(result["skipped"] for result in results if "skipped" in result)
    return numbers


def _steps(result: dict) -> int | None:
    """All steps that led to an encoder, those of what it continues included."""
    steps = result.get("steps")
    return None if steps is None else steps + (result.get("steps_before") or 0)


def _rows_seen(result: dict) -> int | None:
    """The rows of all these steps."""
    steps, size = _steps(result), result.get("batch_size")
    return None if steps is None or size is None else steps * size


def _mined(mined: Mined) -> dict:
    means: dict[str, float | None] = {}
    for key in ("count", "accuracy", "anchors_covered"):
        values = [metrics[key] for metrics in mined.metrics if metrics[key] is not None]
        means[key] = round(fmean(values), 6) if values else None
    return {"start": mined.start, "at": mined.at, **means}


def _sampler(facts: dict, runs: Runs, arms: dict, rounds: Collection[str]) -> dict:
    """What the sampler's training adds to the arms', and what it would have been to vanilla."""
    # Rounds always continue something.
    every = [result for arm in runs if arm not in rounds for result in runs[arm]]
    told = {key: facts.get(key) for key in ("method", "epochs", "rows_seen")}
    continued = any(result.get("steps_before") for result in every)
    rows = [arms[arm]["rows_seen"] if arm in arms else None for arm in (BASELINE, "sepp")]
    epochs = arms[BASELINE]["epochs"] if BASELINE in arms else None
    equal = None
    if all(rows) and epochs and told["rows_seen"] and not continued:
        equal = round(epochs * (rows[1] + told["rows_seen"]) / rows[0], 1)
    return {**told, "continued": continued, "equal_epochs": equal}


def _gains(runs: Runs, arms: dict) -> dict:
    """The gain of each arm but the baseline; None where no seed was evaluated in both."""
    gains: dict[str, dict | None] = {arm: {} for arm in arms if arm != BASELINE}
    for name, key in SCORES.items():
        values = {arm: {r["seed"]: r[key] for r in _measured(runs[arm])} for arm in runs}
        measured = paired_gains(values, BASELINE)
        for arm, gain in measured.items():
            gains[arm][name] = gain
        for arm in measured.keys() - {BOUND} if BOUND in measured else ():
            gains[arm][name]["oracle_share"] = _share(runs, key, arm, gains[BOUND][name])
    for arm, gain in gains.items():
        if gain:
            steps = arms[arm]["steps"], arms[BASELINE]["steps"]
            gain["steps"] = round(steps[0] / steps[1], 4) if all(steps) else None
    return {arm: gain or None for arm, gain in gains.items()}


def _share(runs: Runs, key: str, arm: str, bound: dict) -> dict | None:
    """The gain of `arm` by the oracle's, which is `bound`; None if that is no gain."""
    values = [
        {result["seed"]: result[key] for result in _measured(runs[name])}
        for name in (BASELINE, arm, BOUND)
    ]
    base, own, best = values
    seeds = [seed for seed in base if seed in own and seed in best]
    gained, possible = ([v[seed] - base[seed] for seed in seeds] for v in (own, best))
    if not seeds or fmean(possible) <= 0:
        return None
    established = bound["p"] is not None and bound["p"] < ALPHA and bound["mean"] > 0
    low, high = (established and fieller(gained, possible)) or (None, None)
    found = {"mean": fmean(gained) / fmean(possible), "low": low, "high": high}
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def _test_error(arms: dict, runs: Runs) -> float | None:
    first = BASELINE if BASELINE in arms else next(iter(arms))
    images = [result.get("test_images") for result in _measured(runs[first])]
    if not images or not images[0]:
        return None
    return round(binomial_error(arms[first]["top1_mean"], images[0]), 6)
