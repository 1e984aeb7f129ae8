"""What may be said of a difference between arms: paired t intervals, Holm's correction, power; and
of the ratio of two such differences: Fieller's interval.

Arms share their seeds, so the gain of an arm is the mean over seeds of paired differences. What
the interval holds is the chance of the trainings' seeds alone: all seeds share one sampler, one set
of pairs and one set of test images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from stages.common.intervals import wilson

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE  # two-sided
POWER = 0.8  # with which an effect is called detectable
MOST_SEEDS = 10_000  # that are worth counting
SAME = 1e-4  # points; one test image of a million, below which a deviation is rounding alone


class Gain(NamedTuple):
    """The paired differences of one arm to the baseline. What cannot be known is None."""

    mean: float
    low: float | None  # 95 % t interval of this arm alone, n - 1 degrees of freedom
    high: float | None
    p: float | None  # two-sided, of a one-sample t test of the differences
    n: int
    deviation: float | None  # sample standard deviation of the differences


def paired_gain(differences: Sequence[float]) -> Gain:
    """Mean of `differences` (n,), its t interval and its p; n >= 1.

    One difference has no interval. Nor have several that are all equal: their spread is below what
    so many test images can show, and a t test would call any of them certain.
    """
    d = np.asarray(differences, np.float64)
    mean, deviation = float(d.mean()), float(d.std(ddof=1)) if len(d) > 1 else None
    if not deviation or deviation < SAME:
        return Gain(mean, None, None, None, len(d), deviation)
    test = stats.ttest_1samp(d, 0.0)
    low, high = test.confidence_interval(CONFIDENCE)
    return Gain(mean, float(low), float(high), float(test.pvalue), len(d), deviation)


def paired_gains(
    values: Mapping[str, Mapping[int, float]], baseline: str
) -> dict[str, dict[str, object]]:
    """The gain of each arm but `baseline`, of whose seeds some are the baseline's; for a summary.

    `values` has a score by seed for each arm. Of each: mean, low and high, p (Holm-corrected over
    these arms), n, and the differences, in order of the arm's seeds.
    """
    base = values[baseline]
    paired = {
        arm: [score - base[seed] for seed, score in own.items() if seed in base]
        for arm, own in values.items()
        if arm != baseline
    }
    measured = {arm: paired_gain(found) for arm, found in paired.items() if found}
    corrected = holm({arm: gain.p for arm, gain in measured.items()})
    gains = {}
    for arm, gain in measured.items():
        bounds = {"mean": gain.mean, "low": gain.low, "high": gain.high, "p": corrected[arm]}
        numbers = {k: None if v is None else round(v, 6) for k, v in bounds.items()}
        differences = [round(value, 6) for value in paired[arm]]
        gains[arm] = {**numbers, "n": gain.n, "differences": differences}
    return gains


def fieller(numerator: Sequence[float], denominator: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the ratio of two means, of paired values (n,) and (n,), by Fieller (1954).

    It holds each ratio r for which a paired t test does not tell `numerator` from r times
    `denominator`. None where that is no interval: the mean of `denominator` is not itself told
    from 0 at 5 %, so that any ratio, or all but some, would do.
    """
    x, y = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    n = len(x)
    if n < 2:
        return None
    t2 = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) ** 2
    (var_x, cov), (_, var_y) = np.cov(x, y) / n  # of the means
    # mean(x - r y)^2 <= t^2 var(mean(x - r y)), a quadratic inequality in r: a r^2 - 2 b r + c <= 0
    a, b, c = (
        float(m - t2 * v)
        for m, v in (
            (y.mean() ** 2, var_y),
            (x.mean() * y.mean(), cov),
            (x.mean() ** 2, var_x),
        )
    )
    if a <= 0:
        return None
    root = math.sqrt(max(0.0, b * b - a * c))  # below 0 by rounding alone: x is y times a number
    return (b - root) / a, (b + root) / a


def holm(ps: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm's (1979) adjusted p of each of several tests; a None is no test and stays None."""
    known = sorted((p, name) for name, p in ps.items() if p is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(ps)
    largest = 0.0
    for rank, (p, name) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[name] = largest
    return adjusted


def power(effect: float, deviation: float, n: int, arms: int = 1) -> float:
    """Chance that a true mean difference `effect` is significant with n paired seeds, at 5 % shared
    among so many arms, which is what Holm's correction asks of the first of them."""
    limit = stats.t.ppf(1 - ALPHA / arms / 2, n - 1)
    shift = abs(effect) / deviation * math.sqrt(n)
    upper, lower = stats.nct.sf(limit, n - 1, shift), stats.nct.cdf(-limit, n - 1, shift)
    return float(upper + (0.0 if math.isnan(lower) else lower))  # the far tail of a large shift


def detectable(deviation: float, n: int, arms: int = 1) -> float:
    """The smallest true difference that n paired seeds would find with a power of 80 %."""
    high = deviation
    while power(high, deviation, n, arms) < POWER:
        high *= 2

    def beyond(effect: float) -> float:
        return power(effect, deviation, n, arms) - POWER

    return float(optimize.brentq(beyond, 0.0, high))


def seeds_needed(effect: float, deviation: float, arms: int = 1) -> int | None:
    """Paired seeds that would find `effect` with a power of 80 %; None above 10,000."""
    if not effect or power(effect, deviation, MOST_SEEDS, arms) < POWER:
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(effect, deviation, middle, arms) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def binomial_error(percent: float, images: int) -> float:
    """Half of the 95 % interval of an accuracy, in points, that comes from the choice of so many
    test images (Wilson's, which is not empty where all are right)."""
    low, high = wilson(percent / 100 * images, images)
    return 50 * (high - low)
