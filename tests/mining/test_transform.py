from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from stages.common.errors import EmbeddingError
from stages.common.unit import unit_rows
from stages.mining import transform
from stages.mining.transform import transform_rows


def cloud(rows: int = 400, dim: int = 12) -> np.ndarray:
    rng = np.random.default_rng(rows)
    return unit_rows((3 + rng.standard_normal((rows, dim)) / np.arange(1, dim + 1)).astype("f4"))


def brute(x: np.ndarray, shrinkage: float | None) -> np.ndarray:
    """By singular values, in float64."""
    z = x.astype(np.float64) - x.astype(np.float64).mean(0)
    if shrinkage is not None:
        u, s, _ = np.linalg.svd(z, full_matrices=False)
        z = u * (s / (s + shrinkage * s[0]))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(400, 12), (9, 12)])  # more rows than dimensions, and fewer
@pytest.mark.parametrize(("name", "shrinkage"), [("center", None), ("whiten", 1e-3), ("whiten", 1)])
def test_cosines_are_those_of_a_brute_force(monkeypatch, shape, name, shrinkage):
    monkeypatch.setattr(transform, "BLOCK", 500)
    monkeypatch.setattr(transform, "FIT", 500)
    x = cloud(*shape)
    expected = brute(x, shrinkage)
    transform_rows(x, name, shrinkage or 0.0)
    assert x.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(x @ x.T, expected @ expected.T, atol=2e-4)


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    monkeypatch.setattr(transform, "BLOCK", 1000)
    monkeypatch.setattr(transform, "FIT", 2000)
    results = []
    for threads in (1, 2, 5, 64):

        @contextmanager
        def so_many(threads=threads):
            with transform.threadpool_limits(1, "blas"):
                yield threads

        monkeypatch.setattr(transform, "_one_thread_each", so_many)
        results.append(cloud(5000))
        transform_rows(results[-1], "whiten", 0.01)
    assert all((x == results[0]).all() for x in results)


def test_the_blas_has_its_threads_back_afterwards():
    def threads() -> list[int]:
        return [of["num_threads"] for of in threadpool_info() if of["user_api"] == "blas"]

    before = threads()
    with transform._one_thread_each() as many:
        assert many == max(before)
        assert set(threads()) == {1}
    assert threads() == before


def test_results_are_in_order_and_few_at_a_time():
    running, most = set(), []

    def run(item: int) -> int:
        running.add(item)
        most.append(len(running))
        return item

    got = []
    for item in transform._in_order(run, iter(range(20)), 3):
        got.append(item)
        running.discard(item)
    assert got == list(range(20))
    assert max(most) <= 3


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(2, 50),
    dim=st.integers(1, 9),
)
def test_rows_without_anything_left_are_found_as_by_their_largest_component(seed, rows, dim):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, dim)) * 10.0 ** rng.integers(-9, 1, (rows, dim))
    values = values.astype("f4")
    expected = np.abs(values).max(axis=1) < transform.NOTHING
    assert (transform._is_nothing(values) == expected).all()


def test_whitened_rows_have_no_preferred_direction():
    x = cloud(4000)

    def widest_to_narrowest() -> float:
        spread = np.linalg.eigvalsh(np.cov(x.T))[1:]  # unit rows with a common mean lack one
        return spread[-1] / spread[0]

    assert widest_to_narrowest() > 20
    transform_rows(x, "whiten", 0.0)
    assert widest_to_narrowest() < 1.5


def test_none_is_the_paper_and_a_memory_map_is_changed_in_place(tmp_path):
    x = cloud()
    before = x.copy()
    transform_rows(x, "none", 0.0)
    assert (x == before).all()
    file = np.memmap(tmp_path / "rows", np.float32, "w+", shape=x.shape)
    file[:] = x
    transform_rows(file, "whiten", 0.01)
    transform_rows(x, "whiten", 0.01)
    assert (x == np.fromfile(tmp_path / "rows", np.float32).reshape(x.shape)).all()


def test_a_collapsed_sampler_is_named():
    x = np.tile(cloud(1), (5, 1))
    with pytest.raises(EmbeddingError, match=r"data/x: image 10, 11, 12 and 2 more: of zero norm"):
        transform_rows(x, "center", 0.0, np.arange(10, 15), "data/x")
