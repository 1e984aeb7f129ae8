"""ImageStore: images by id from each of the three ways in which they are kept."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stages.common import artifacts
from stages.common.errors import ArtifactError, DataError
from stages.common.images import ImageStore
from tests.conftest import REPOSITORY
from tests.datasets import samples

SPLITS = ["train", "train", "labelled", "test", "train"]
SIZES = [(8, 6), (5, 7), (20, 3), (4, 4), (9, 2)]
KINDS = ("packed", "encoded", "folder")


def write(folder: Path, kind: str) -> tuple[ImageStore, list[np.ndarray]]:
    """A store of five images written by hand, so that prepare is not needed to test it."""
    sizes = [SIZES[0]] * 5 if kind == "packed" else SIZES
    images = [samples.pixels(i, size) for i, size in enumerate(sizes)]
    files = [samples.encoded(image) for image in images]
    lengths = np.array([len(file) for file in files])
    paths = [f"somewhere/{i}.png" for i in range(5)]
    held = {
        "packed": np.stack(images) if kind == "packed" else None,
        "encoded": np.frombuffer(b"".join(files), np.uint8),
        "folder": np.zeros(0, np.uint8),
    }
    np.save(folder / "images.npy", held[kind])
    (folder / "somewhere").mkdir()
    for path, file in zip(paths, files, strict=True):
        (folder / path).write_bytes(file)
    table = pa.table(
        {
            "id": np.arange(5),
            "split": SPLITS,
            "label": np.array([2, 0, 1, -1, 1], np.int32),
            "path": pa.array(paths if kind == "folder" else [None] * 5, pa.string()),
            "offset": np.cumsum(lengths) - lengths if kind == "encoded" else np.full(5, -1),
            "length": lengths if kind == "encoded" else np.full(5, -1),
            "digest": pa.nulls(5, pa.string()),
        },
        schema=artifacts.MANIFEST,
    )
    about = {"classes": ["a", "b", "c"]}
    artifacts.write_parquet(folder / "manifest.parquet", table, artifacts.MANIFEST, about)
    return ImageStore(folder / "manifest.parquet", folder / "images.npy", folder), images


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_and_images_by_id_in_any_order(tmp_path: Path, kind: str):
    store, images = write(tmp_path, kind)
    for i in (3, 0, 4, 1, 2, 3):
        assert (store.pixels(i) == images[i]).all()
        assert store.pixels(i).dtype == np.uint8
        assert store.read(i).mode == "RGB"
        assert (np.asarray(store.read(i)) == images[i]).all()
    assert (store.packed is None) == (kind != "packed")


def test_splits_labels_and_classes(tmp_path: Path):
    store, _ = write(tmp_path, "encoded")
    assert store.select("train").tolist() == [0, 1, 4]
    assert store.select("labelled").tolist() == [2]
    assert store.select("absent").tolist() == []
    assert store.labels.tolist() == [2, 0, 1, -1, 1]
    assert store.classes == ["a", "b", "c"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_spawned_process_reads_the_same(tmp_path: Path, kind: str):
    store, images = write(tmp_path, kind)
    store.pixels(0)  # opens the file, which must not travel
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        for i, found in enumerate(pool.map(store.pixels, range(5))):
            assert (found == images[i]).all()


def test_an_open_store_pickles_without_its_pixels(tmp_path: Path):
    store, _ = write(tmp_path, "packed")
    before = len(pickle.dumps(store))
    assert store.packed is not None
    assert len(pickle.dumps(store)) == before


def test_the_root_is_the_data_root_unless_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, images = write(tmp_path, "folder")
    store = ImageStore(tmp_path / "manifest.parquet", tmp_path / "images.npy")
    monkeypatch.setenv("SEPP_DATA_ROOT", str(tmp_path))
    assert (store.pixels(1) == images[1]).all()
    monkeypatch.setenv("SEPP_DATA_ROOT", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"elsewhere/somewhere/1\.png"):
        store.pixels(1)


def test_a_file_that_was_cut_short_since_is_named(tmp_path: Path):
    store, _ = write(tmp_path, "folder")
    (tmp_path / "somewhere/2.png").write_bytes(samples.truncated_jpeg())
    with pytest.raises(DataError, match=r"somewhere/2\.png.*dvc repro prepare") as error:
        store.pixels(2)
    assert "\n" not in str(error.value)


def test_missing_images_and_a_foreign_manifest_are_named(tmp_path: Path):
    write(tmp_path, "packed")
    manifest, images = tmp_path / "manifest.parquet", tmp_path / "images.npy"
    with pytest.raises(ArtifactError, match=r"absent\.npy: is missing.*dvc repro prepare"):
        ImageStore(manifest, tmp_path / "absent.npy")
    pairs = artifacts.PAIRS.empty_table()
    artifacts.write_parquet(manifest, pairs, artifacts.PAIRS)
    with pytest.raises(ArtifactError, match=r"other columns.*dvc repro prepare"):
        ImageStore(manifest, images)


@pytest.mark.parametrize("share", [0, 0.1, 0.9])
def test_images_cut_short_are_named(tmp_path: Path, share: float):
    write(tmp_path, "packed")
    images = tmp_path / "images.npy"
    images.write_bytes(images.read_bytes()[: int(share * images.stat().st_size)])
    with pytest.raises(ArtifactError, match=r"images\.npy: is damaged.*dvc repro prepare"):
        ImageStore(tmp_path / "manifest.parquet", images).pixels(0)


def test_importing_it_never_loads_torch():
    code = "import sys, stages.common.images; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
