import numpy as np
import pytest

from stages.common.intervals import accuracy_interval, chance_accuracy, wilson


@pytest.mark.parametrize(
    ("right", "trials", "low", "high"),
    [(0, 10, 0.0, 0.277533), (8, 10, 0.490162, 0.943318), (2, 2, 0.342380, 1.0)],
)
def test_wilson_as_in_tables(right, trials, low, high):
    assert wilson(right, trials) == pytest.approx((low, high), abs=1e-5)


def test_pairs_of_one_image_are_one_mistake():
    apart = accuracy_interval(90, 100, np.ones(200))
    assert apart == wilson(90, 100)
    star = accuracy_interval(90, 100, np.r_[100, np.ones(100)])
    assert star == pytest.approx(wilson(0.9 * 200 / 101, 200 / 101))  # two trials
    everyone = accuracy_interval(9, 45, np.full(10, 9))  # all pairs of ten images
    assert everyone == pytest.approx(wilson(1, 5))


def test_the_interval_holds_where_images_are_right_or_wrong_as_a_whole():
    """Hubs of fifty pairs each, right more or less often: a plain interval would be too narrow."""
    rng = np.random.default_rng(0)
    degrees = np.r_[np.full(40, 50), np.ones(2000)]
    held = 0
    for _ in range(400):
        right = rng.binomial(50, rng.beta(2, 2, size=40)).sum()
        low, high = accuracy_interval(right, 2000, degrees)
        held += low <= 0.5 <= high
    assert held >= 0.95 * 400


def test_chance_is_what_random_pairs_reach():
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 5000, p=[0.5, 0.3, 0.15, 0.05])
    i, j = rng.integers(5000, size=(2, 200_000))
    assert chance_accuracy(labels) == pytest.approx((labels[i] == labels[j]).mean(), abs=0.005)
    assert chance_accuracy(np.array([-1, 2, -1, 2])) == 1.0
    assert chance_accuracy(np.array([-1, -1])) is None
