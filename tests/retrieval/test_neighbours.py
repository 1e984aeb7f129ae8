"""Which images are nearest to one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.common.errors import EmbeddingError
from stages.retrieval.nearest import nearest


def blocks(x: np.ndarray, size: int):
    for start in range(0, len(x), size):
        part = x[start : start + size]
        paths = [f"{start + place}.png" for place in range(len(part))]
        yield paths, [None] * len(part), part


@pytest.mark.parametrize("size", [1, 7, 100])
def test_they_are_those_of_brute_force(size):
    rng = np.random.default_rng(0)
    x, query = (rng.normal(size=shape).astype(np.float32) for shape in ((100, 5), 5))
    cosines = x @ query / np.linalg.norm(x, axis=1) / np.linalg.norm(query)
    order = np.argsort(-cosines)
    hits = nearest(query, blocks(x, size), 12)
    assert [hit.path for hit in hits] == [f"{row}.png" for row in order[:12]]
    np.testing.assert_allclose([hit.similarity for hit in hits], cosines[order[:12]], atol=1e-6)
    assert len(nearest(query, blocks(x, size), 1000)) == 100


def test_of_equal_ones_the_first_in_order():
    x = np.ones((9, 3), np.float32)
    assert [hit.path for hit in nearest(x[0], blocks(x, 2), 3)] == ["0.png", "1.png", "2.png"]


def test_the_query_itself_is_left_out_under_whatever_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.ones((4, 3), np.float32)
    hits = nearest(x[0], blocks(x, 4), 2, but=tmp_path / "1.png")
    assert [hit.path for hit in hits] == ["0.png", "2.png"]
    hits = nearest(x[0], [(["a/1.png"], ["cat"], x[:1])], 2, but=Path("1.png"))
    (hit,) = hits  # another file of that name
    assert hit[1:] == ("a/1.png", "cat")
    assert hit.similarity == pytest.approx(1)


def test_a_query_without_a_direction_is_refused():
    with pytest.raises(EmbeddingError, match="of zero norm"):
        nearest(np.zeros(3, np.float32), [], 1)
