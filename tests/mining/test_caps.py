import logging

import numpy as np
import pytest

from stages.mining import Pairs
from stages.mining.caps import cap_pairs


@pytest.fixture
def triangle_fan() -> Pairs:
    """All 15 pairs of six rows."""
    i, j = np.triu_indices(6, 1)
    return Pairs(i, j, np.linspace(0.97, 0.99, len(i)).astype(np.float32))


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def uses(pairs: Pairs) -> np.ndarray:
    return np.bincount(np.concatenate([pairs.anchor, pairs.positive]), minlength=6)


def test_no_cap_keeps_all(triangle_fan):
    assert cap_pairs(triangle_fan, None, None, seeded()) is triangle_fan


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_per_anchor_counts_both_sides(triangle_fan, limit, seed):
    kept = cap_pairs(triangle_fan, limit, None, seeded(seed))
    used = uses(kept)
    assert used.max() == limit
    # Greedy: whatever was dropped has a row without room.
    dropped = {*zip(*triangle_fan[:2], strict=True)} - {*zip(*kept[:2], strict=True)}
    assert all(used[i] == limit or used[j] == limit for i, j in dropped)


@pytest.mark.parametrize("limit", [1, 2, 15, 99])
def test_in_all(triangle_fan, limit):
    kept = cap_pairs(triangle_fan, None, limit, seeded())
    assert len(kept.anchor) == min(limit, 15)
    rows = [*zip(*triangle_fan, strict=True)]
    positions = [rows.index(row) for row in zip(*kept, strict=True)]
    assert positions == sorted(set(positions))


def test_both_are_seeded_and_logged(triangle_fan, caplog):
    with caplog.at_level(logging.INFO):
        first = cap_pairs(triangle_fan, 2, 3, seeded(1))
    assert len(first.anchor) == 3
    per_anchor, in_all = caplog.messages
    assert per_anchor.startswith("sepp.max_per_anchor 2: removed ")
    assert per_anchor.endswith(" of 15 pairs")
    assert in_all.startswith("sepp.max_pairs 3: removed ")
    again = cap_pairs(triangle_fan, 2, 3, seeded(1))
    np.testing.assert_array_equal(first, again)
    others = [cap_pairs(triangle_fan, 2, 3, seeded(seed)).anchor.tolist() for seed in range(9)]
    assert len({tuple(other) for other in others}) > 1
