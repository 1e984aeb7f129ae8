"""The numbers of the experiment, and what may honestly be said of them."""

from __future__ import annotations

import math
from statistics import fmean, stdev

from stages.reporting.inputs import Runs

BASELINE = "vanilla"


def summarise(mining: dict, runs: Runs) -> dict:
    """What was found and what it was worth.

    pairs: count, accuracy (a share), anchors_covered. arms: of each, the mean and the sample
    standard deviation over n seeds of linear top-1 and of kNN top-1, in percent; the deviation of
    one seed is null. gain: of each arm but vanilla, its linear top-1 less vanilla's, in points.
    Where there is no number, it is null and ``note`` says why.
    """
    pairs = {key: mining[key] for key in ("count", "accuracy", "anchors_covered")}
    if mining["accuracy"] is None or "note" in mining:  # none, or of some of the pairs alone
        pairs["note"] = mining.get("note", "the images of the pairs have no labels")
    arms = {arm: _statistics(results) for arm, results in runs.items()}
    gain = {
        arm: _difference(numbers["top1_mean"], arms[BASELINE]["top1_mean"])
        for arm, numbers in arms.items()
        if BASELINE in arms and arm != BASELINE
    }
    return {"pairs": pairs, "arms": arms, "gain": gain}


def _statistics(results: list[dict]) -> dict:
    measured = [result for result in results if "skipped" not in result]
    numbers: dict[str, object] = {}
    for name, key in (("top1", "linear_top1"), ("knn", "knn_top1")):
        values = [result[key] for result in measured]
        numbers[f"{name}_mean"] = round(fmean(values), 6) if values else None
        numbers[f"{name}_std"] = round(stdev(values), 6) if len(values) > 1 else None
    numbers["n"] = len(measured)
    if len(measured) < len(results):
        numbers["note"] = next(result["skipped"] for result in results if "skipped" in result)
    return numbers


def _difference(value: float | None, baseline: float | None) -> float | None:
    return None if value is None or baseline is None else round(value - baseline, 6)


def spread(summary: dict, arm: str) -> float | None:
    """Points by which the gain of one seed varies: the deviations of both arms, added in squares.

    None for a single seed.
    """
    deviations = [summary["arms"][name]["top1_std"] for name in (arm, BASELINE)]
    return None if None in deviations else math.hypot(*deviations)


def verdict(summary: dict, arm: str) -> str:
    """Whether the gain of `arm` is more than what another seed would change."""
    gain = summary["gain"][arm]
    if gain is None:
        return "not evaluated"
    around = spread(summary, arm)
    if around is None:
        return "one seed, so this may be chance"
    if abs(gain) > around:
        more = f"more than the seed-to-seed spread of ±{around:.2f}"
        seeds = min(summary["arms"][name]["n"] for name in (arm, BASELINE))
        return more if seeds > 2 else f"{more}, but {seeds} seeds are too few to be sure"
    return f"within the seed-to-seed spread of ±{around:.2f}, so no evidence of a difference"


def featured(summary: dict) -> str:
    """The arm that the headline is about: sepp, else the first that is not the baseline."""
    arms = [arm for arm in summary["arms"] if arm != BASELINE]
    return "sepp" if "sepp" in arms else arms[0] if arms else BASELINE


def headline(summary: dict) -> str:
    """The result in one sentence."""
    arm = featured(summary)
    numbers, gain = summary["arms"][arm], summary["gain"].get(arm)
    if numbers["top1_mean"] is None:
        return f"The arms were trained but not evaluated: {numbers['note']}."
    if gain is None:
        only = f"Arm {arm} reaches {_percent(numbers['top1_mean'])} linear top-1"
        return f"{only}; a gain needs vanilla and another arm in arms of params.yaml."
    pairs = summary["pairs"]["count"]
    subject = f"Training on {pairs:,} semantic pairs" if arm == "sepp" else f"Arm {arm}"
    change = f"{'raised' if gain >= 0 else 'lowered'} linear top-1 by {abs(gain):.2f}"
    base, reached = (_percent(summary["arms"][name]["top1_mean"]) for name in (BASELINE, arm))
    return f"{subject} {change} points, from {base} to {reached}: {verdict(summary, arm)}."


def _percent(value: float) -> str:
    return f"{value:.2f}\N{NO-BREAK SPACE}%"  # the sign stays with its number


def signed(points: float | None) -> str:
    """A gain as people write it, with a true minus; a dash for none."""
    return "–" if points is None else f"{points:+.2f}".replace("-", "−")


def plus_minus(mean: float | None, deviation: float | None) -> str:
    """Mean ± deviation, with two digits; a dash for none."""
    if mean is None:
        return "–"
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"
