"""Lists of a few labels: of every class its share, whatever the seed."""

from __future__ import annotations

import numpy as np
import pytest

from stages.evaluation._split import stratified


def counts(labels: np.ndarray, share: float, **more: int) -> list[int]:
    rows = stratified(labels, share, **{"seed": 0, **more})
    assert list(rows) == sorted(set(rows.tolist()))
    return np.bincount(labels[rows], minlength=labels.max() + 1).tolist()


def test_every_class_has_its_share_and_at_least_one():
    labels = np.repeat([0, 1, 2, 3], [100, 20, 15, 3])
    np.random.default_rng(0).shuffle(labels)
    assert counts(labels, 0.1) == [10, 2, 2, 1]  # of 15 one and a half, of 3 less than a half
    assert counts(labels, 1.0) == [100, 20, 15, 3]
    assert counts(labels, 0.01) == [1, 1, 1, 1]


def test_a_class_that_no_image_has_is_none():
    assert stratified(np.array([5, 5, 7]), 0.4, seed=0).tolist() in ([0, 2], [1, 2])


def test_lists_are_the_seeds_and_smaller_ones_lie_within_larger_ones():
    labels = np.arange(500) % 7
    one, ten = (stratified(labels, share, seed=3) for share in (0.05, 0.3))
    assert set(one) < set(ten)
    assert (stratified(labels, 0.3, seed=3) == ten).all()
    assert (stratified(labels, 0.3, seed=4) != ten).any()


@pytest.mark.parametrize("seed", range(5))
def test_all_images_of_a_class_are_as_likely(seed):
    labels = np.zeros(1000, int)
    rows = stratified(labels, 0.5, seed)
    assert abs(rows.mean() - 499.5) < 5 * 1000 / 12**0.5 / 500**0.5
