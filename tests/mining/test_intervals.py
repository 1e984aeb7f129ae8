import numpy as np
import pytest

from stages.mining.intervals import accuracy_interval, chance_accuracy, wilson


@pytest.mark.parametrize(
    ("right", "trials", "low", "high"),
    [(0, 10, 0.0, 0.277533), (8, 10, 0.490162, 0.943318), (2, 2, 0.342380, 1.0)],
)
def test_wilson_as_in_tables(right, trials, low, high):
    assert wilson(right, trials) == pytest.approx((low, high), abs=1e-5)


def test_pairs_of_one_image_are_one_mistake():
    many = accuracy_interval(90, 100, images=200)
    assert many == wilson(90, 100)
    star = accuracy_interval(90, 100, images=20)
    assert star == wilson(9, 10)
    assert star[1] - star[0] > 2 * (many[1] - many[0])


def test_chance_is_what_random_pairs_reach():
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 5000, p=[0.5, 0.3, 0.15, 0.05])
    i, j = rng.integers(5000, size=(2, 200_000))
    assert chance_accuracy(labels) == pytest.approx((labels[i] == labels[j]).mean(), abs=0.005)
    assert chance_accuracy(np.array([-1, 2, -1, 2])) == 1.0
    assert chance_accuracy(np.array([-1, -1])) is None
