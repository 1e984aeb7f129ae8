import logging
from collections.abc import Iterator

import numpy as np
import pytest

from stages.mining import Pairs, caps
from stages.mining.caps import cap_pairs, priority


def all_pairs(rows: int) -> Pairs:
    i, j = np.triu_indices(rows, 1)
    return Pairs(i, j, np.linspace(0.97, 0.99, len(i)).astype(np.float32))


FAN = all_pairs(6)


def kept_of(pairs: Pairs, *limits: int | None, seed: int = 0, block: int = 4) -> Pairs:
    def blocks() -> Iterator[Pairs]:
        for start in range(0, len(pairs.anchor), block):
            yield pairs.take(slice(start, start + block))

    return pairs.take(cap_pairs(blocks, 100, *limits, seed))


def uses(pairs: Pairs) -> np.ndarray:
    return np.bincount(np.concatenate([pairs.anchor, pairs.positive]), minlength=6)


def same(a: Pairs, b: Pairs) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def test_no_cap_keeps_all():
    assert same(kept_of(FAN, None, None), FAN)


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_per_anchor_counts_both_sides(limit, seed):
    kept = kept_of(FAN, limit, None, seed=seed)
    used = uses(kept)
    assert used.max() == limit
    # Greedy: whatever was dropped has a row without room.
    dropped = {*zip(*FAN[:2], strict=True)} - {*zip(*kept[:2], strict=True)}
    assert all(used[i] == limit or used[j] == limit for i, j in dropped)


@pytest.mark.parametrize("limit", [1, 2, 15, 99])
def test_in_all(limit):
    kept = kept_of(FAN, None, limit)
    assert len(kept.anchor) == min(limit, 15)
    rows = [*zip(*FAN, strict=True)]
    positions = [rows.index(row) for row in zip(*kept, strict=True)]
    assert positions == sorted(set(positions))


@pytest.mark.parametrize("limits", [(3, None), (None, 500), (3, 40)])
def test_neither_blocks_nor_parts_change_what_is_kept(monkeypatch, limits):
    pairs = all_pairs(40)  # 780 pairs
    whole = kept_of(pairs, *limits, block=10_000)
    assert 0 < len(whole.anchor) < 780
    monkeypatch.setattr(caps, "PART", 100)
    assert same(kept_of(pairs, *limits, block=7), whole)


def test_both_are_seeded_and_logged(caplog):
    with caplog.at_level(logging.INFO):
        first = kept_of(FAN, 2, 3, seed=1)
    assert len(first.anchor) == 3
    per_anchor, in_all = caplog.messages
    assert per_anchor.startswith("sepp.max_per_anchor 2: removed ")
    assert per_anchor.endswith(" of 15 pairs")
    assert in_all.startswith("sepp.max_pairs 3: removed ")
    assert same(first, kept_of(FAN, 2, 3, seed=1))
    others = [kept_of(FAN, 2, 3, seed=seed).anchor.tolist() for seed in range(9)]
    assert len({tuple(other) for other in others}) > 1


def test_every_pair_is_kept_as_often_as_any_other():
    times = np.zeros(15)
    for seed in range(2000):
        kept = kept_of(FAN, None, 5, seed=seed)
        times[[*map([*zip(*FAN[:2], strict=True)].index, zip(*kept[:2], strict=True))]] += 1
    np.testing.assert_allclose(times / 2000, 1 / 3, atol=0.05)  # 4.7 standard deviations


def test_priorities_look_random():
    pairs = all_pairs(300)
    first, second = (priority(pairs, seed) for seed in (0, 1))
    assert len(np.unique(first)) == len(first)
    for bits in (first, second, first ^ second):
        share = np.unpackbits(bits.view(np.uint8)).reshape(len(bits), -1).mean(0)
        np.testing.assert_allclose(share, 0.5, atol=0.02)
