import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.unit import unit_rows
from stages.mining import nearest as module
from stages.mining.nearest import nearest
from stages.mining.rows import ordered, similarity, unordered


def cloud(rows: int, dim: int = 6) -> np.ndarray:
    return unit_rows(np.random.default_rng(rows).standard_normal((rows, dim)).astype("f4"))


def brute(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    rows = len(x)
    value = similarity(x, *np.indices((rows, rows)).reshape(2, -1)).reshape(rows, rows)
    np.fill_diagonal(value, -2)
    near = np.argsort(-value, axis=1, kind="stable")[:, :count]
    return near, np.maximum(np.take_along_axis(value, near, axis=1), 0)


def check(x: np.ndarray, count: int, memory: int = 2**28) -> None:
    near, value = nearest(x, count, memory)
    expected = brute(x, count)
    assert (near == expected[0]).all()
    assert (value == expected[1]).all()
    assert (near.dtype, value.dtype) == (np.int32, np.float32)


@pytest.fixture
def parts(monkeypatch):
    """Of seven rows, at a memory of 0."""
    monkeypatch.setattr(module, "FEW", 7)


@pytest.mark.parametrize("count", [1, 5, 30, 89])
def test_as_a_brute_force(count):
    check(cloud(90), count)


@pytest.mark.parametrize("count", [1, 5, 30, 89])
def test_in_small_parts(parts, count):
    check(cloud(90), count, memory=0)


def test_more_equal_rows_than_are_looked_for_are_told_apart_by_number(parts):
    blank = np.repeat(cloud(2), [60, 40], axis=0)
    x = np.concatenate([blank, cloud(30)])[np.random.default_rng(0).permutation(130)]
    check(x, 3)
    check(x, 3, memory=0)


def test_rows_that_float32_cannot_tell_apart(parts):
    rng = np.random.default_rng(0)
    near = cloud(1, 64) + 1e-5 * rng.standard_normal((120, 64))  # a collapsed sampler's
    check(unit_rows(near.astype("f4")), 4, memory=0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(2, 60),
    kinds=st.integers(1, 60),
    count=st.integers(1, 59),
    few=st.integers(1, 64),
    queries=st.integers(1, 64),
    spare=st.integers(1, 8),
)
def test_whatever_the_parts_and_the_ties(seed, rows, kinds, count, few, queries, spare):
    rng = np.random.default_rng(seed)
    x = unit_rows(rng.standard_normal((kinds, 3)).astype("f4"))[rng.integers(kinds, size=rows)]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("FEW", few), ("QUERIES", queries), ("SPARE", spare)):
            patch.setattr(module, name, value)
        check(x, min(count, rows - 1), memory=0)


def test_rows_on_the_disk(tmp_path, parts):
    x = cloud(90)
    file = np.memmap(tmp_path / "rows", np.float32, "w+", shape=x.shape)
    file[:] = x
    for one, other in zip(nearest(file, 4, 0), nearest(x, 4, 2**28), strict=True):
        assert (one == other).all()


@given(st.lists(st.floats(-1, 1, width=32), min_size=1))
def test_floats_as_ordered_numbers(values):
    values = np.array(values, np.float32)
    keys = ordered(values)
    assert (unordered(keys) == values).all()
    assert ((keys[:, None] < keys) == (values[:, None] < values)).all()
