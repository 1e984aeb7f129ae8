"""Who is whose partner, against all pairs in a double loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stages.ssl.partners import Partners


def among(rows: list[tuple[int, int]], ids: list[int], candidates: list[int]) -> list[list[bool]]:
    partners = Partners(*np.array(rows, dtype=np.int64).reshape(-1, 2).T)
    mask = partners.among(torch.tensor(ids), torch.tensor(candidates))
    assert mask.dtype == torch.bool
    assert mask.shape == (len(ids), len(candidates))
    return mask.tolist()


def plain(rows: list[tuple[int, int]], ids: list[int], candidates: list[int]) -> list[list[bool]]:
    """One entry at a time."""
    return [[i != j and ((i, j) in rows or (j, i) in rows) for j in candidates] for i in ids]


@pytest.mark.parametrize("seed", range(30))
def test_partners_are_those_of_a_double_loop(seed):
    """Pairs in both orders and more than once, images without any, candidates that are nobody, come
    again or are in no row."""
    rng = np.random.default_rng(seed)
    images = int(rng.integers(2, 15))
    pairs = rng.integers(0, images, (int(rng.integers(0, 25)), 2))
    rows = [*((i, i) for i in range(images)), *map(tuple, pairs.tolist())]
    ids = rng.integers(0, images, int(rng.integers(1, 12))).tolist()
    candidates = rng.integers(-1, images + 3, int(rng.integers(1, 40))).tolist()
    assert among(rows, ids, candidates) == plain(rows, ids, candidates)


def test_a_pair_counts_in_both_orders():
    assert among([(0, 1)], [0, 1], [0, 1]) == [[False, True], [True, False]]


def test_an_image_is_not_its_own_partner():
    assert among([(0, 0), (1, 1), (2, 2)], [0, 1, 2], [0, 1, 2]) == [[False] * 3] * 3


def test_a_partners_partner_is_a_stranger():
    assert among([(0, 1), (1, 2)], [0, 2], [2, 1, 0]) == [[False, True, False]] * 2


def test_every_time_a_partner_comes_it_counts():
    assert among([(0, 1), (1, 2)], [1, 1], [2, -1, 0, 2]) == [[True, False, True, True]] * 2


def test_an_image_between_others_may_have_no_partner():
    rows = [(0, 3), (1, 1), (2, 2)]
    candidates = [0, 1, 2, 3]
    assert among(rows, [1, 3, 2], candidates) == [
        [False] * 4,
        [True, False, False, False],
        [False] * 4,
    ]


def test_nobody_is_a_partner_where_there_are_no_candidates():
    assert among([(0, 1)], [0, 1], []) == [[], []]


def test_a_checkpoint_has_no_partners_for_the_rows_have_them():
    partners = Partners(np.array([0, 1]), np.array([1, 2]))
    assert not partners.state_dict()
    assert not list(partners.parameters())
