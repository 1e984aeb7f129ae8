import numpy as np
import pytest

from stages.common.unit import unit_rows
from stages.mining import find_pairs
from stages.mining.estimate import ANCHORS, expected_pairs


@pytest.mark.parametrize("dim", [8, 32, 64, 512])
@pytest.mark.parametrize("seed", range(5))
def test_equal_rows_are_all_pairs(dim, seed):
    """A float32 product of a unit row with itself may be above 1."""
    row = np.random.default_rng(seed).standard_normal((1, dim)).astype(np.float32)
    x = unit_rows(np.repeat(row, 1_000, 0))
    assert expected_pairs(x, 0.9, 1.0, seed) == 1_000 * 999 / 2


def test_few_rows_are_counted():
    x = unit_rows(np.random.default_rng(0).standard_normal((ANCHORS, 4)).astype(np.float32))
    assert expected_pairs(x, 0.5, 0.9, 0) == len(find_pairs(x, 0.5, 0.9).anchor)


def test_many_rows_are_estimated():
    x = unit_rows(np.random.default_rng(1).standard_normal((3_000, 4)).astype(np.float32))
    assert expected_pairs(x, 0.5, 0.9, 0) == pytest.approx(len(find_pairs(x, 0.5, 0.9).anchor), 0.1)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few(rows):
    assert expected_pairs(np.ones((rows, 1), np.float32), 0, 1, 0) == 0
