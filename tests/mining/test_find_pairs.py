"""Mining against inputs that a person can solve, and against float64 brute force."""

import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import EmbeddingError, SeppError
from stages.common.unit import unit_rows
from stages.mining import find_pairs
from stages.mining.engines import ENGINES, faiss, pruned
from stages.mining.rows import error_bound, similarity

TOLERANCE = 1e-6  # how near to a bound a pair may go either way


def brute_force(embeddings: np.ndarray) -> np.ndarray:
    """(N, N) float64 cosines."""
    x = embeddings.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


EXACT = ["faiss", "pruned"]


def check(embeddings: np.ndarray, lo: float, hi: float) -> None:
    found = [find_pairs(embeddings, lo, hi, engine) for engine in EXACT]
    for column, *others in zip(*found, strict=True):  # to the bit, whichever engine
        assert all(other.tobytes() == column.tobytes() for other in others)
    pairs = found[0]
    assert [c.dtype for c in pairs] == [np.int64, np.int64, np.float32]
    rows = list(zip(pairs.anchor.tolist(), pairs.positive.tolist(), strict=True))
    assert rows == sorted(set(rows))
    assert all(i < j for i, j in rows)
    assert ((np.float32(lo) <= pairs.similarity) & (pairs.similarity <= np.float32(hi))).all()
    cosine = brute_force(embeddings)
    np.testing.assert_allclose(pairs.similarity, cosine[pairs.anchor, pairs.positive], atol=1e-6)
    found = np.zeros(cosine.shape, bool)
    found[pairs.anchor, pairs.positive] = True
    inside = np.triu((lo <= cosine) & (cosine <= hi), 1)
    doubtful = np.minimum(abs(cosine - lo), abs(cosine - hi)) <= TOLERANCE
    np.testing.assert_array_equal(found[~doubtful], inside[~doubtful])


def test_solved_by_hand():
    degrees = np.deg2rad([0, 90, 10, 60])
    x = np.stack([np.cos(degrees), np.sin(degrees)], 1).astype(np.float32)
    pairs = find_pairs(x, 0.5, 0.9)  # differences of 60, 30 and 50 degrees
    assert list(zip(*(c.tolist() for c in pairs[:2]), strict=True)) == [(0, 3), (1, 3), (2, 3)]
    np.testing.assert_allclose(pairs.similarity, np.cos(np.deg2rad([60, 30, 50])), atol=1e-7)


@pytest.mark.parametrize("bound", [0.97, 0.99, 0.83, 0.5, 0.0, -0.3, 1.0, -1.0])
def test_both_bounds_are_inclusive(at_cosines, bound):
    x = at_cosines(bound)
    for lo, hi in ((bound, 1), (-1, bound), (bound, bound)):
        pairs = find_pairs(x, lo, hi)
        assert pairs.anchor.tolist() == [0]
        assert pairs.similarity[0] == np.float32(bound)


@pytest.mark.parametrize("bound", [0.97, 0.99])
def test_next_float_outside_is_out(at_cosines, bound):
    outside = (np.nextafter(np.float32(bound), np.float32(side)) for side in (0, 1))
    low, high = (at_cosines(float(value)) for value in outside)
    assert len(find_pairs(low, bound, 1).anchor) == 0
    assert len(find_pairs(high, -1, bound).anchor) == 0
    assert len(find_pairs(high, bound, 1).anchor) == 1


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 5)])
def test_too_few_rows_make_no_pair(shape):
    assert [len(column) for column in find_pairs(np.ones(shape, np.float32), -1, 1)] == [0, 0, 0]


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 2048])
def test_equal_rows_are_all_pairs_of_similarity_one(dim):
    """Up to a unit of rounding: no float32 row may have a norm of exactly 1 in its direction."""
    row = np.random.default_rng(dim).standard_normal(dim).astype(np.float32)
    pairs = find_pairs(np.tile(row, (40, 1)), 1 - 1e-6, 1)
    assert len(pairs.anchor) == 40 * 39 // 2
    np.testing.assert_allclose(pairs.similarity, 1, atol=2e-7)


@st.composite
def clouds(draw):
    """Rows around a few centres, with duplicates, and of any norm that float32 holds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, dim = draw(st.integers(0, 40)), draw(st.sampled_from([1, 2, 3, 7, 64, 2048]))
    centres = rng.standard_normal((draw(st.integers(1, 4)), dim))
    noise = draw(st.sampled_from([0.0, 1e-4, 0.1, 1.0])) * rng.standard_normal((n, dim))
    x = centres[rng.integers(len(centres), size=n)] + noise
    x[rng.random(n) < 0.2] = x[:1] if n else 0
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    scale = draw(st.sampled_from([1.0, 1e-30, 1e30, None]))
    x *= 10.0 ** rng.uniform(-25, 25, (n, 1)) if scale is None else scale
    return x.astype(np.float32)


COSINE = st.one_of(st.sampled_from([-1.0, 0.0, 0.97, 0.99, 1.0]), st.floats(-1, 1))


@settings(max_examples=300, deadline=None)
@given(clouds(), COSINE, COSINE, st.sampled_from([8, 16, 1024]))
def test_agrees_with_brute_force(x, a, b, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pruned.TILES, "cpu", pruned.Tile(size, 8))
        check(x, min(a, b), max(a, b))


@pytest.mark.parametrize("split", [1, 24, 37, 99])
def test_pairs_of_two_parts(split, monkeypatch):
    """What a task of the ray engine does; parts need not be whole tiles."""
    monkeypatch.setitem(pruned.TILES, "cpu", pruned.Tile(16, 8))
    x = unit_rows(np.random.default_rng(7).standard_normal((100, 3)).astype("f4"))
    joined = pruned.Join(x, 0.9, 0.99, 2**20, split, threads=1)
    blocks = [(i, j) for _, i, j in joined.pairs()]
    i, j = (np.concatenate(column) for column in zip(*blocks, strict=True))
    assert ((i < split) & (split <= j)).all()
    assert len(np.unique(i * 100 + j)) == len(i)
    cosine = brute_force(x)[:split, split:]
    assert len(i) == np.count_nonzero((cosine >= 0.9) & (cosine <= 0.99))


def test_rows_too_far_apart_never_meet(monkeypatch):
    monkeypatch.setitem(pruned.TILES, "cpu", pruned.Tile(64, 64))
    angles = np.random.default_rng(8).uniform(0, np.pi / 2, 4096)
    x = unit_rows(np.stack([np.cos(angles), np.sin(angles)], 1).astype("f4"))
    wide = pruned.Join(x, 0.0, 1.0, 2**20).tiles
    assert wide == 64 * 65 // 2
    assert pruned.Join(x, 0.999, 1.0, 2**20).tiles < wide / 5
    check(x[:1000], 0.999, 1.0)


def test_smallest_norms():
    """Subnormal float32 still have a direction."""
    x = np.array([[3e-45, 0], [1e-40, 1e-40], [0, 1e-44]], np.float32)
    check(x, -1, 0.8)


def test_many_blocks(monkeypatch):
    x = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    whole = find_pairs(x, 0.5, 0.9)
    monkeypatch.setattr(faiss, "HIGH", 7)
    monkeypatch.setattr(faiss, "HIT", 2**30)  # so that all searches are small
    monkeypatch.setattr(pruned, "TILES", dict.fromkeys(("cpu", "cuda"), pruned.Tile(128, 64)))
    monkeypatch.setattr(pruned, "RUN", 2)
    monkeypatch.setattr("stages.mining.pairs.PART", 100)
    monkeypatch.setattr("stages.mining.rows.BLOCK", 40)
    for one, other in zip(whole, find_pairs(x, 0.5, 0.9), strict=True):
        assert one.tobytes() == other.tobytes()
    check(x, 0.5, 0.9)


def test_result_does_not_depend_on_the_engine(monkeypatch):
    """An engine may propose too much, more than once, either way round and in any order."""

    def everything(x, lo, hi, means):
        i, j = np.triu_indices(len(x), 1)
        yield i[::-1], j[::-1]
        yield j, i

    monkeypatch.setitem(ENGINES, "everything", everything)
    x = np.random.default_rng(1).standard_normal((60, 16)).astype(np.float32)
    for one, other in zip(find_pairs(x, 0, 0.6), find_pairs(x, 0, 0.6, "everything"), strict=True):
        assert one.tobytes() == other.tobytes()


def test_torch_is_left_as_it_was():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("medium")
        find_pairs(np.random.default_rng(6).standard_normal((50, 4)).astype("f4"), 0, 1, "pruned")
        assert torch.get_num_threads() == 2
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


def test_unit_rows_among_others_keep_their_bits(monkeypatch):
    monkeypatch.setattr("stages.common.unit.BLOCK", 10)  # a row at a time
    x = np.random.default_rng(0).standard_normal((7, 9)).astype("f4")
    expected = unit_rows(x)
    x[::2] = expected[::2]
    before = x.copy()
    assert (unit_rows(x) == expected).all()
    assert (x == before).all()
    for dtype, order in (("f4", "F"), ("f8", "C")):
        assert (unit_rows(x.astype(dtype, order=order)) == expected).all()


def test_unit_rows_are_left_alone_and_the_input_never_changes():
    x = np.random.default_rng(2).standard_normal((20, 8)).astype(np.float32)
    before = x.copy()
    unit = unit_rows(x)
    np.testing.assert_array_equal(x, before)
    assert unit_rows(unit) is unit
    x.setflags(write=False)
    np.testing.assert_array_equal(unit_rows(x), unit)


@pytest.mark.parametrize("dim", [1, 2, 128, 2048])
def test_error_bound_holds(dim):
    x = unit_rows(np.abs(np.random.default_rng(3).standard_normal((50, dim))).astype("f4"))
    i, j = np.triu_indices(50, 1)
    fast = np.cumsum(x[i] * x[j], axis=1, dtype=np.float32)[:, -1]  # the worst order of summation
    assert np.abs(fast - similarity(x, i, j)).max() <= error_bound(dim)


def test_without_a_folder_for_compiled_code_it_is_compiled_anew(monkeypatch):
    from numba.core import caching

    from stages.mining.engines._scan import compiled

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])  # none may be written
    assert compiled()(lambda x: x + 1)(1) == 2


@pytest.mark.parametrize(
    ("value", "problem"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or"), (0, "zero norm")]
)
def test_rows_without_direction_are_named(value, problem):
    x = np.ones((9, 3), np.float32)
    x[[2, 4, 5, 8]] = value
    with pytest.raises(EmbeddingError, match=f"row 2, 4, 5 and 1 more: .*{problem}.*dvc repro"):
        find_pairs(x, 0, 1)


@pytest.mark.parametrize(("lo", "hi"), [(0.9, 0.8), (-1.1, 0), (0, 1.01), (float("nan"), 1)])
def test_impossible_interval(lo, hi):
    with pytest.raises(ValueError, match="similarity interval") as caught:
        find_pairs(np.eye(2, dtype=np.float32), lo, hi)
    assert isinstance(caught.value, SeppError)


def test_unknown_engine():
    with pytest.raises(SeppError, match="no engine 'annoy'; there are auto, faiss, pruned"):
        find_pairs(np.eye(2, dtype=np.float32), 0, 1, "annoy")


@pytest.mark.parametrize("engine", EXACT)
def test_memory_may_be_short(engine):
    """Sketches get shorter, and searches smaller; the pairs stay."""
    x = np.random.default_rng(4).standard_normal((2000, 64)).astype(np.float32)
    x[1000:] = x[:1000] + 0.05 * x[1000:]
    for one, other in zip(
        find_pairs(x, 0.9, 1, engine, 2000 * 8), find_pairs(x, 0.9, 1, engine), strict=True
    ):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("neighbours", [4, 64])
def test_faiss_on_a_gpu_asks_the_cpu_where_neighbours_overflow(neighbours, monkeypatch):
    """A flat index on the CPU stands for the GPU's; no row has 64 neighbours in range."""
    library = pytest.importorskip("faiss")

    def flat(_, x):
        index = library.IndexFlatIP(x.shape[1])
        index.add(x)
        return index

    rng = np.random.default_rng(5)
    x = np.repeat(rng.standard_normal((60, 8)), rng.integers(1, 12, 60), axis=0).astype("f4")
    x += 0.05 * rng.standard_normal(x.shape, "f4")
    whole = find_pairs(x, 0.9, 0.999, "pruned")
    monkeypatch.setattr(library, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "_gpu_index", flat)
    monkeypatch.setattr(faiss, "NEIGHBOURS", neighbours)
    monkeypatch.setattr(faiss, "HIGH", 50)
    monkeypatch.setattr(faiss, "FEW", 3)
    for one, other in zip(whole, find_pairs(x, 0.9, 0.999, "faiss"), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("lo", "most"), [(0.97, 1), (0.97, 10**6), (0.3, 10**6), (-0.5, 1)])
def test_what_a_gpu_does(lo, most, monkeypatch):
    """The same tensors on the CPU: sparse tiles, dense ones, and few rows gathered at a time."""
    rng = np.random.default_rng(9)
    x = np.repeat(rng.standard_normal((50, 6)), rng.integers(1, 20, 50), axis=0).astype("f4")
    x = unit_rows(x + 0.1 * rng.standard_normal(x.shape, "f4"))
    whole = find_pairs(x, lo, 0.999, "faiss")
    monkeypatch.setattr("stages.common.env.on_gpu", lambda _: True)
    monkeypatch.setattr(pruned, "GPU", "cpu")
    monkeypatch.setattr(pruned, "NUMBERS", most)
    monkeypatch.setitem(pruned.TILES, "cpu", pruned.Tile(64, 64))
    for one, other in zip(whole, find_pairs(x, lo, 0.999, "pruned"), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_gpu_without_room(monkeypatch):
    torch = pytest.importorskip("torch")

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(pruned.Join, "_tile", full)
    with pytest.raises(SeppError, match=r"3 rows of 3 .* SEPP_ACCELERATOR=cpu, or lower embed\.k"):
        find_pairs(np.eye(3, dtype=np.float32), 0, 1, "pruned")


def test_missing_ray(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(SeppError, match=r'Ray is not installed; run `pip install -e "\.\[ray\]"`'):
        find_pairs(np.eye(2, dtype=np.float32), 0, 1, "ray")


def test_no_ray_cluster_at_the_address(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # nobody listens there
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(SeppError, match=rf"RAY_ADDRESS={address}: .*refused; `ray start --head`"):
        find_pairs(np.eye(2, dtype=np.float32), 0, 1, "ray")


def test_missing_faiss(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(SeppError, match=r"pip install faiss-cpu.*never have both"):
        find_pairs(np.eye(2, dtype=np.float32), 0, 1, "faiss")
