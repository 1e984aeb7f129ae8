"""The combine stage: what each arm adds, and what must never change."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stages import combine
from stages.common import artifacts
from stages.common.draws import _unrank, draw, draw_pairs
from stages.common.errors import ArtifactError, DataError, SeppError
from stages.common.sepp_sections import SeppRows
from stages.ssl.batches import read_rows

ROOT = Path(combine.__file__).parents[1]
CONTROLS = ("duplicate", "random", "oracle")
IMAGES = 30  # every third is a test image
TRAIN = np.array([i for i in range(IMAGES) if i % 3])
PAIRS = [(1, 4), (1, 7), (2, 28), (10, 11), (13, 16)]


def write_manifest(folder: Path, labels: np.ndarray) -> None:
    n = len(labels)
    columns = {
        "id": np.arange(n),
        "split": ["train" if i % 3 else "test" for i in range(n)],
        "label": labels,
        "path": pa.nulls(n, pa.string()),
        "offset": np.full(n, -1),
        "length": np.full(n, -1),
        "digest": [""] * n,
    }
    artifacts.write_parquet(folder / "manifest.parquet", pa.table(columns), artifacts.MANIFEST)


def write_pairs(folder: Path, pairs: list[tuple[int, int]]) -> None:
    i, j = np.array(pairs).T
    columns = {"anchor": i, "positive": j, "similarity": np.full(len(i), 0.98, np.float32)}
    artifacts.write_parquet(folder / "pairs.parquet", pa.table(columns), artifacts.PAIRS)


@pytest.fixture
def folder(tmp_path) -> Path:
    write_manifest(tmp_path, np.arange(IMAGES) % 4)
    write_pairs(tmp_path, PAIRS)
    return tmp_path


def path_of(
    folder: Path, arm: str, seed: int = 0, weight: float = 0.5, ordered=False, mask=False
) -> Path:
    outputs = combine.Outputs(folder / f"{arm}-{seed}.parquet", folder / "cost.json")
    leaves = {"lambda": weight, "ordered": ordered, "mask_partners": mask}
    params = combine.Params(sepp=SeppRows(**leaves))
    inputs = combine.Inputs(folder / "manifest.parquet", folder / "pairs.parquet")
    combine.run(params, inputs, outputs, arm, seed)
    return outputs.combined


def extra(folder: Path, *args, **kwargs) -> list[tuple]:
    """The rows behind the instance rows, after checking these."""
    path = path_of(folder, *args, **kwargs)
    table = artifacts.read_parquet(path, artifacts.COMBINED, "combine")
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert rows[: len(TRAIN)] == [(i, i, 1.0, "instance") for i in TRAIN]
    return rows[len(TRAIN) :]


def test_vanilla_has_instance_rows_only(folder):
    assert extra(folder, "vanilla") == []


def test_sepp_has_the_mined_pairs(folder):
    assert extra(folder, "sepp") == [(i, j, 0.5, "semantic") for i, j in PAIRS]


def test_ordered_has_both_orders(folder):
    rows = extra(folder, "sepp", ordered=True)
    assert rows == [(*pair, 0.5, "semantic") for pair in PAIRS + [(j, i) for i, j in PAIRS]]


@pytest.mark.parametrize("arm", ["sepp", "random", "oracle"])
def test_masking_of_partners_is_kept_with_the_rows(folder, arm):
    plain, masked = (read_rows(path_of(folder, arm, mask=mask)) for mask in (False, True))
    assert (plain.mask_partners, masked.mask_partners) == (False, True)
    np.testing.assert_array_equal(plain.positive, masked.positive)


@pytest.mark.parametrize("arm", ["vanilla", "duplicate"])
def test_masking_changes_no_arm_without_partners(folder, arm):
    before = path_of(folder, arm).read_bytes()
    assert path_of(folder, arm, mask=True).read_bytes() == before


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("arm", CONTROLS)
@pytest.mark.parametrize("seed", range(5))
def test_controls(folder, arm, ordered, seed):
    rows = extra(folder, arm, seed, ordered=ordered)
    assert len(rows) == len(PAIRS) * (1 + ordered)
    assert len(set(rows)) == len(rows)
    assert {row[2:] for row in rows} == {(0.5, arm)}
    i, j = np.array([row[:2] for row in rows]).T
    assert np.isin([i, j], TRAIN).all()
    if arm == "duplicate":
        np.testing.assert_array_equal(i, j)
        return
    half = slice(len(PAIRS))
    assert (i[half] < j[half]).all()
    if ordered:
        np.testing.assert_array_equal([j[half], i[half]], [i[len(PAIRS) :], j[len(PAIRS) :]])
    if arm == "oracle":
        np.testing.assert_array_equal(i % 4, j % 4)


@pytest.mark.parametrize("arm", CONTROLS)
def test_controls_are_seeded(folder, arm):
    bytes_of = [path_of(folder, arm, seed).read_bytes() for seed in (0, 0, 1)]
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]


def test_vanilla_never_changes(folder):
    """Whatever was mined, whatever the seed, even with nothing mined at all."""
    first = path_of(folder, "vanilla").read_bytes()
    write_pairs(folder, PAIRS[:2])
    assert path_of(folder, "vanilla", 5, 1.0, True).read_bytes() == first
    (folder / "pairs.parquet").unlink()
    assert path_of(folder, "vanilla").read_bytes() == first


@pytest.mark.parametrize("arm", ["sepp", *CONTROLS])
def test_lambda_zero_is_vanilla(folder, arm):
    vanilla = path_of(folder, "vanilla").read_bytes()
    assert path_of(folder, arm, weight=0.0).read_bytes() == vanilla


def test_oracle_repeats_only_what_it_must(folder, caplog):
    labels = np.arange(IMAGES)
    labels[[1, 2, 4]] = 99  # three pairs for five rows
    write_manifest(folder, labels)
    rows = [row[:2] for row in extra(folder, "oracle")]
    assert set(rows) == {(1, 2), (1, 4), (2, 4)}
    assert max(rows.count(row) for row in rows) == 2
    assert "its 5 rows repeat the only 3 pairs" in caplog.text


def test_oracle_pairs_the_images_that_have_a_label(folder, caplog):
    labels = np.arange(IMAGES) % 4
    labels[18:] = -1
    write_manifest(folder, labels)
    caplog.set_level("INFO")
    rows = np.array([row[:2] for row in extra(folder, "oracle")])
    assert rows.max() < 18
    assert len(set(map(tuple, rows))) == len(PAIRS)
    assert "oracle: pairs the 12 of 20 images that have a label" in caplog.text
    labels[5:] = -1
    write_manifest(folder, labels)
    with pytest.raises(DataError, match="no two training images have the same label"):
        extra(folder, "oracle")


def test_oracle_needs_labels(folder):
    write_manifest(folder, np.full(IMAGES, -1))
    with pytest.raises(DataError, match=r"no labels, so arm oracle.*remove oracle from arms"):
        extra(folder, "oracle")
    write_manifest(folder, np.arange(IMAGES))
    with pytest.raises(DataError, match="no two training images have the same label"):
        extra(folder, "oracle")


def test_pairs_of_test_images_are_refused(folder):
    write_pairs(folder, [(1, 3)])
    with pytest.raises(ArtifactError, match=r"not in the train split.*dvc repro mine"):
        extra(folder, "sepp")


def test_unknown_arm_and_seed(folder):
    with pytest.raises(SeppError, match="--arm best: no such arm; there are vanilla, sepp, dup"):
        path_of(folder, "best")
    with pytest.raises(SeppError, match="--seed -1"):
        path_of(folder, "vanilla", -1)


def test_command_fails_in_one_line(tmp_path):
    params = ["--params", str(ROOT / "params.yaml")]
    command = [sys.executable, "-m", "stages.combine", *params, "--arm", "best", "--seed", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: --arm best: no such arm")
    assert done.stderr.count("\n") == 1


def test_unrank_counts_all_pairs():
    number = np.arange(1000 * 999 // 2)
    low, high = _unrank(number)
    assert (low >= 0).all()
    assert (low < high).all()
    assert high.max() == 999
    assert len(np.unique(low * 1000 + high)) == len(number)
    n = 2_000_000
    ends = np.array([n * (n - 1) // 2 - 1, n * (n - 1) // 2])
    np.testing.assert_array_equal(_unrank(ends), [[n - 2, 0], [n - 1, n]])


def test_pairs_are_drawn_uniformly():
    groups = [np.array([3, 5, 8]), np.array([4]), np.array([1, 9])]
    counts: dict[tuple[int, int], int] = {}
    for seed in range(2000):
        i, j = draw_pairs(groups, 1, np.random.default_rng(seed))
        counts[i[0], j[0]] = counts.get((i[0], j[0]), 0) + 1
    assert set(counts) == {(3, 5), (3, 8), (5, 8), (1, 9)}
    assert min(counts.values()) > 420  # of 500 expected, standard deviation 19


def test_draw_is_even():
    counts = np.bincount(draw(7, 17, np.random.default_rng(0)))
    assert sorted(counts) == [2, 2, 2, 2, 3, 3, 3]
