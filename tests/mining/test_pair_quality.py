import numpy as np
import pytest

from stages.mining import Pairs
from stages.mining.quality import describe

PAIRS = Pairs(
    np.array([0, 0, 2, 4]), np.array([1, 2, 3, 5]), np.array([0.5, 0.5, 1, 1], np.float32)
)


def test_solved_by_hand():
    metrics = describe([PAIRS], np.array([7, 7, 3, 3, 3, 7, 7]))
    # Wilson's interval of half of the trials: image 0 is in two pairs, 2 in two, four in one each.
    trials = 2 * 4**2 / (2 * 2**2 + 4)
    z2 = 1.959964**2 / trials
    half = 1.959964 * (0.25 / trials + z2 / trials / 4) ** 0.5 / (1 + z2)
    assert metrics == {
        "count": 4,
        "accuracy": 0.5,  # (0, 1) and (2, 3)
        "accuracy_low": pytest.approx(0.5 - half, abs=1e-6),
        "accuracy_high": pytest.approx(0.5 + half, abs=1e-6),
        "judged": 4,
        "chance": pytest.approx((4 / 7) ** 2 + (3 / 7) ** 2, abs=1e-6),
        "anchors_covered": 6,
        "pairs_per_anchor": pytest.approx(8 / 6, abs=1e-6),
        "pairs_per_image": pytest.approx(4 / 7, abs=1e-6),
        "images": 7,
        "similarity_mean": 0.75,
        "similarity_min": 0.5,
        "class_balance": 1.0,  # anchors 7, 7, 3, 3
    }


def test_blocks_add_up():
    labels = np.array([7, 7, 3, -1, 3, 7, 7])
    blocks = [PAIRS.take(slice(start, start + 1)) for start in range(4)]
    assert describe(blocks, labels) == describe([PAIRS], labels)


def test_one_sided_balance():
    assert describe([PAIRS], np.array([1, 1, 1, 0, 1, 1]))["class_balance"] == 0


def test_no_labels():
    metrics = describe([PAIRS], np.full(6, -1))
    assert metrics["accuracy"] is metrics["class_balance"] is metrics["chance"] is None
    assert "no labels" in metrics["note"]


def test_some_labels():
    metrics = describe([PAIRS], np.array([1, 1, 0, -1, -1, -1]))
    assert metrics["accuracy"] == 0.5
    assert "2 of 4 pairs" in metrics["note"]


def test_many_classes():
    metrics = describe([PAIRS], np.arange(200))
    assert 0 < metrics["class_balance"] < 1
