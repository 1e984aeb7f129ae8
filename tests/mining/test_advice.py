import re

import numpy as np
import pytest

from stages.common.unit import unit_rows
from stages.mining import find_pairs
from stages.mining.advice import advise
from stages.mining.cosine import Cosine
from stages.mining.walk import Walk


def advice(x: np.ndarray, lo: float, hi: float) -> str:
    return advise(Cosine(unit_rows(x), 0, "auto", 2**28, None), len(x), lo, hi)


def suggestions(text: str) -> dict[str, tuple[float, int]]:
    found = re.findall(r"sepp\.(min|max)=(\S+) would give about (one|[\d,]+) pair", text)
    numbers = {"one": 1}
    return {
        key: (float(value), numbers.get(count) or int(count.replace(",", "")))
        for key, value, count in found
    }


def test_all_below(at_cosines):
    assert advice(at_cosines(0.9961), 0.999, 0.9995) == (
        "no pair of 2 images has a similarity in [0.999, 0.9995]; the highest below have about "
        "0.996: sepp.min=0.996 would give about one pair"
    )


def test_pairs_above_call_for_a_higher_max(at_cosines):
    assert suggestions(advice(at_cosines(0.9961), 0.97, 0.99)) == {"max": (1.0, 1)}
    both = suggestions(advice(at_cosines(1.0, 0.9), 0.97, 0.99))
    assert both["max"] == (1.0, 1)
    assert both["min"][1] == 2


@pytest.mark.parametrize("seed", range(10))
def test_it_proposes_about_one_pair_an_image_and_tells_how_many(seed):
    x = np.random.default_rng(seed).standard_normal((300, 16)).astype(np.float32)
    low, count = suggestions(advice(x, 0.999, 1.0))["min"]
    assert count == len(find_pairs(x, low, 1.0).anchor)  # of no more than 512 images exactly
    assert 300 <= count < 360


def test_of_many_images_it_is_near():
    x = np.random.default_rng(0).standard_normal((4000, 8)).astype(np.float32)
    low, count = suggestions(advice(x, 0.9999, 1.0))["min"]
    assert len(find_pairs(x, low, 1.0).anchor) == pytest.approx(count, rel=0.25)
    assert 3_000 < count < 6_000


def test_walks_are_advised_alike():
    x = unit_rows(np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32))
    text = advise(Walk(x, 5), 200, 0.9999, 1.0)
    low, count = suggestions(text)["min"]
    assert 0.5 < low < 1
    assert 200 <= count < 300


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images(n):
    assert "raise embed.k" in advice(np.ones((n, 1), np.float32), 0.5, 1)


def test_nothing_alike_at_all():
    assert "no two of 3 images are alike at all" in advise(
        Walk(np.eye(3, dtype=np.float32), 0), 3, 0.5, 1
    )
