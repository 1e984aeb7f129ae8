import re

import numpy as np
import pytest

from stages.common.unit import unit_rows
from stages.mining import find_pairs, pair_blocks
from stages.mining.advice import advise


def suggestions(text: str) -> list[tuple[str, float, int]]:
    found = re.findall(r"sepp\.(min|max)=(\S+) would give ([\d,]+) pair", text)
    return [(key, float(value), int(count.replace(",", ""))) for key, value, count in found]


def test_all_below(at_cosines):
    text = advise(at_cosines(0.9961), 0.999, 0.9995)
    assert text == (
        "no pair of 2 images has a similarity in [0.999, 0.9995]; "
        "the nearest have 0.9961: sepp.min=0.99 would give 1 pair"
    )


def test_all_above(at_cosines):
    assert suggestions(advise(at_cosines(0.9961), 0.97, 0.99)) == [("max", 0.997, 1)]
    assert suggestions(advise(at_cosines(1.0), 0.97, 0.99)) == [("max", 1.0, 1)]


def test_duplicates_hide_no_useful_minimum(at_cosines):
    x = at_cosines(1.0, 0.9)
    assert suggestions(advise(x, 0.97, 0.99)) == [("max", 1.0, 1), ("min", 0.9, 2)]


@pytest.mark.parametrize("seed", range(20))
def test_suggestions_hold(seed):
    rng = np.random.default_rng(seed)
    x = unit_rows(rng.standard_normal((12, 3)).astype(np.float32))
    lo = float(rng.uniform(-1, 1))
    hi = lo + 1e-4 if lo < 0.99 else 1.0
    if len(find_pairs(x, lo, hi).anchor):
        return
    offered = suggestions(advise(x, lo, hi))
    assert offered
    for key, value, count in offered:
        bounds = (value, hi) if key == "min" else (lo, value)
        assert len(find_pairs(x, *bounds).anchor) == count > 0


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images(n):
    assert "raise embed.k" in advise(np.ones((n, 1), np.float32), 0.5, 1)


def test_very_many_pairs_are_not_counted(at_cosines, monkeypatch):
    monkeypatch.setattr("stages.mining.advice.MANY", 2)
    x = at_cosines(1.0, 1.0)
    assert "sepp.max=1.0 would give about 3 pairs" in advise(x, 0.97, 0.99)


def counted(monkeypatch) -> list[int]:
    """How many pairs each search of `advise` goes through."""
    counts = []

    def search(*args, **kwargs):
        for pairs in pair_blocks(*args, **kwargs):
            counts.append(len(pairs.anchor))
            yield pairs

    monkeypatch.setattr("stages.mining.advice.pair_blocks", search)
    return counts


@pytest.mark.parametrize("dim", [2, 8, 64, 512])
def test_a_collapsed_sampler_is_told_without_a_search_of_all(dim, monkeypatch):
    counts = counted(monkeypatch)
    monkeypatch.setattr("stages.mining.advice.MANY", 10_000)
    row = np.random.default_rng(dim).standard_normal((1, dim)).astype(np.float32)
    text = advise(unit_rows(np.repeat(row, 1_000, 0)), 0.97, 0.99)
    assert re.search(r"nearest have 1\.0000: sepp\.max=1\.0 would give about 499,500 pairs", text)
    two = unit_rows(np.repeat(np.eye(2, dim, dtype=np.float32), 500, 0))
    text = advise(two, 0.97, 0.99)
    assert "nearest have 0.0000 and 1.0000: sepp.max=1.0 would give about" in text
    assert sum(counts) == 0


@pytest.mark.parametrize("engine", ["faiss", "pruned"])
@pytest.mark.parametrize("seed", range(8))
def test_the_nearest_are_those_of_all_though_a_sample_tells_where(seed, engine, monkeypatch):
    monkeypatch.setattr("stages.mining.advice.SAMPLE", 50)
    rng = np.random.default_rng(seed)
    x = unit_rows(rng.standard_normal((400, 8)).astype(np.float32))
    value = np.sort(find_pairs(x, -1, 1).similarity.astype(np.float64))
    place = rng.integers(1, len(value))
    lo, hi = value[place - 1] + 1e-7, value[place] - 1e-7
    if lo > hi or len(find_pairs(x, lo, hi).anchor):
        return
    text = advise(x, float(lo), float(hi), engine)
    assert f"the nearest have {value[place - 1]:.4f} and {value[place]:.4f}: " in text
