"""What may be said of a difference, held against simulated experiments and textbook values."""

import numpy as np
import pytest
from scipy import stats

from stages.reporting.statistics import (
    binomial_error,
    detectable,
    fieller,
    holm,
    paired_gain,
    power,
    seeds_needed,
)

EXPERIMENTS = 2_000
SEEDS = (2, 3, 5, 10)


def share_significant(gain: float, n: int, generator: int) -> int:
    """How many of 2,000 experiments with n paired seeds and a true gain have p < 5 %."""
    rng = np.random.default_rng([generator, n])
    vanilla = 70 + 2 * rng.standard_normal((EXPERIMENTS, n))  # what seeds share cancels out
    other = vanilla + gain + rng.standard_normal((EXPERIMENTS, n))
    ps = [paired_gain(d).p for d in other - vanilla]
    return sum(p is not None and p < 0.05 for p in ps)


@pytest.mark.parametrize("n", SEEDS)
def test_of_null_experiments_five_in_a_hundred_are_significant(n):
    low, high = stats.binom.interval(0.999, EXPERIMENTS, 0.05)
    assert low <= share_significant(0.0, n, 1) <= high


@pytest.mark.parametrize("n", SEEDS)
def test_a_true_gain_is_found_as_often_as_theory_says(n):
    rate = power(1.0, 1.0, n)
    low, high = stats.binom.interval(0.999, EXPERIMENTS, rate)
    assert low <= share_significant(1.0, n, 2) <= high


@pytest.mark.parametrize("n", SEEDS)
def test_the_interval_holds_the_truth_in_95_of_100(n):
    rng = np.random.default_rng([3, n])
    gains = [paired_gain(0.7 + rng.standard_normal(n)) for _ in range(EXPERIMENTS)]
    held = sum(gain.low <= 0.7 <= gain.high for gain in gains)
    low, high = stats.binom.interval(0.999, EXPERIMENTS, 0.95)
    assert low <= held <= high
    assert all((gain.p < 0.05) == (gain.low > 0 or gain.high < 0) for gain in gains)


def test_a_gain_by_hand():
    gain = paired_gain([1.0, 2.0, 3.0])
    half = 4.302653 * 1.0 / 3**0.5  # t of 2 degrees of freedom at 97.5 %
    assert gain.mean == 2.0
    assert (gain.low, gain.high) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert gain.p == pytest.approx(0.0741799, abs=1e-6)
    assert (gain.n, gain.deviation) == (3, 1.0)


@pytest.mark.parametrize("differences", [[0.5], [0.5, 0.5], [0.0, 0.0, 0.0], [0.5, 0.500008]])
def test_one_seed_or_equal_ones_have_no_interval(differences):
    gain = paired_gain(differences)
    assert gain.mean == pytest.approx(differences[0], abs=1e-4)
    assert gain.low is gain.high is gain.p is None


def test_holm_by_hand():
    # Holm (1979): the smallest times 3, the next times 2, never below the one before.
    adjusted = holm({"a": 0.04, "b": 0.01, "c": 0.03, "none": None})
    assert adjusted == {"a": pytest.approx(0.06), "b": 0.03, "c": pytest.approx(0.06), "none": None}
    assert holm({"a": 0.9, "b": 0.8})["b"] == 1.0


def test_several_arms_ask_for_more():
    """As Holm's correction does of the first of them: no sensitivity contradicts its verdict."""
    assert power(1.0, 1.0, 5, arms=4) < power(1.0, 1.0, 5)
    assert detectable(1.0, 5, arms=4) > detectable(1.0, 5)
    limit = stats.t.ppf(1 - 0.05 / 4 / 2, 4)
    shift = 1.0 * 5**0.5
    exact = stats.nct.sf(limit, 4, shift) + stats.nct.cdf(-limit, 4, shift)
    assert power(1.0, 1.0, 5, arms=4) == pytest.approx(exact)


def test_power_as_in_tables():
    # Cohen (1988): a paired t test of d = 0.5 needs 34 pairs for a power of 80 %.
    assert seeds_needed(0.5, 1.0) == 34
    assert power(detectable(2.0, 5), 2.0, 5) == pytest.approx(0.8, abs=1e-6)
    assert seeds_needed(0.0, 1.0) is seeds_needed(1e-4, 1.0) is None
    assert power(1e3, 0.1, 2) == pytest.approx(1.0)


def test_binomial_error_by_hand():
    normal = 100 * 1.959964 * (0.9 * 0.1 / 10_000) ** 0.5
    assert binomial_error(90.0, 10_000) == pytest.approx(normal, rel=1e-3)
    assert binomial_error(100.0, 360) > 0.5  # all right says little of the next 360


def test_fieller_by_hand():
    """Three seeds: t of 2 degrees of freedom at 97.5 % is 4.302653, its square 18.512821."""
    gained, possible = [1.0, 2.0, 3.0], [4.0, 4.4, 4.8]
    # Means 2 and 4.4; of the means the variances 1/3 and 0.16/3, and the covariance 0.4/3:
    a = 19.36 - 18.512821 * 0.16 / 3
    b = 8.8 - 18.512821 * 0.4 / 3
    c = 4 - 18.512821 * 1 / 3
    root = (b * b - a * c) ** 0.5
    expected = (b - root) / a, (b + root) / a
    assert fieller(gained, possible) == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx((-0.142128, 0.831373), abs=1e-6)


def test_at_a_bound_of_fieller_the_t_test_is_at_its_limit():
    rng = np.random.default_rng(4)
    gained, possible = rng.normal(1, 0.5, 6), rng.normal(5, 0.5, 6)
    for bound in fieller(gained, possible):
        assert stats.ttest_1samp(gained - bound * possible, 0.0).pvalue == pytest.approx(0.05)


@pytest.mark.parametrize("n", SEEDS[1:])
def test_fieller_holds_the_true_ratio_in_95_of_100(n):
    rng = np.random.default_rng([5, n])
    held = []
    for _ in range(EXPERIMENTS):
        shared = rng.standard_normal(n)  # of vanilla's seeds, on which both gains depend
        gained = 4 + 0.3 * (shared + rng.standard_normal(n))
        possible = 10 + 0.3 * (shared + rng.standard_normal(n))
        low, high = fieller(gained, possible)  # never None with a denominator this sure
        held.append(low <= 0.4 <= high)
    low, high = stats.binom.interval(0.999, EXPERIMENTS, 0.95)
    assert low <= sum(held) <= high


def test_fieller_of_an_unsure_denominator_is_none():
    for possible in ([-1.0, 1.0, 0.5], [0.0, 0.0, 0.0], [1.0, 3.0, 0.2]):
        assert (paired_gain(possible).p or 1) > 0.05
        assert fieller([1.0, 2.0, 3.0], possible) is None
    assert fieller([1.0], [2.0]) is None
    assert fieller([1.0, 1.5, 2.0], [2.0, 3.0, 4.0]) == pytest.approx((0.5, 0.5))
