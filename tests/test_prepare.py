"""prepare: its parameters, broken images, and what all later stages rely on."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import prepare
from stages.common.errors import ArtifactError, ParamError
from tests.conftest import REPOSITORY, write_params
from tests.datasets import samples
from tests.datasets.bench import EQUAL, FOLDERS, UNEQUAL, Bench, write_shards

WITHOUT_TORCH = """
import runpy, sys
_, *stages = sys.argv
for stage in stages:
    sys.argv = [stage]
    try:
        runpy.run_module(stage, run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code
assert "torch" not in sys.modules
"""


def python(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        **options,
    )


def test_limit_keeps_a_seeded_subset_in_order(bench: Bench):
    images = write_shards(bench.root, EQUAL)
    store = bench.run("parquet", limit=4, seed=1)
    kept = [next(i for i, x in enumerate(images) if (x == p).all()) for p in store.packed]
    assert kept[:4] == sorted(set(kept[:4]))
    assert max(kept[:4]) < 7
    assert kept[4:] == [7, 8, 9], "the test split is not limited"
    assert store.labels.tolist() == [[0, 1, 2, 0, 1, 2, 0, 2, 1, 0][i] for i in kept]
    assert (bench.run("parquet", limit=4, seed=1).packed == store.packed).all()
    others = [bench.run("parquet", limit=4, seed=s).packed.tobytes() for s in range(6)]
    assert len(set(others)) > 1


def test_a_limit_above_the_images_is_refused(bench: Bench):
    write_shards(bench.root, EQUAL)
    with pytest.raises(ParamError, match=r"data\.limit: 8 .* 7 "):
        bench.run("parquet", limit=8)
    assert not bench.manifest.exists()


def test_the_listing_of_another_data_set_is_refused(bench: Bench):
    write_shards(bench.root, EQUAL)
    bench.run("parquet")
    (bench.work / "source.json").write_text('{"name": "cifar10"}')
    params = prepare.Params.load(bench.work / "params.yaml")
    inputs = prepare.Inputs(bench.work / "source.json")
    with pytest.raises(ArtifactError, match=r"source\.json.*cifar10.*parquet"):
        prepare.run(params, inputs, prepare.Outputs(bench.manifest, bench.images))


@pytest.mark.parametrize("name", ["digits", "imagefolder", "parquet"])
def test_a_second_run_is_equal_byte_for_byte(bench: Bench, name: str):
    samples.folders(bench.root, FOLDERS, UNEQUAL)
    write_shards(bench.root, UNEQUAL)

    def contents() -> list[bytes]:
        bench.run(name, limit=4)
        return [bench.manifest.read_bytes(), bench.images.read_bytes()]

    assert contents() == contents()


@pytest.mark.parametrize("stage", ["source", "prepare"])
def test_digits_never_load_torch(tmp_path: Path, stage: str):
    """As DVC runs it: a command in a process of its own."""
    write_params(tmp_path / "params.yaml", {})
    done = python("-c", WITHOUT_TORCH, f"stages.{stage}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if stage == "prepare":
        assert np.load(tmp_path / "data/images.npy").shape == (1797, 8, 8, 3)
    else:
        listing = json.loads((tmp_path / "data/source.json").read_text())
        assert listing == {"name": "digits", "files": 0, "bytes": 0, "digest": ""}


def test_parquet_never_loads_torch(bench: Bench):
    images = write_shards(bench.root, UNEQUAL)
    write_params(bench.work / "params.yaml", {"data.name": "parquet", "data.watch": ["parquet"]})
    done = python("-c", WITHOUT_TORCH, "stages.source", "stages.prepare", cwd=bench.work)
    assert done.returncode == 0, done.stderr
    assert "7 train, 3 test images, streamed" in done.stderr
    run = np.load(bench.work / "data/images.npy")
    assert run.tobytes() == b"".join(samples.encoded(image) for image in images)


def test_folders_never_load_torch(bench: Bench):
    samples.folders(bench.root, {"train/cat": 3, "train/dog": 2, "train": 1}, UNEQUAL)
    leaves = {"data.name": "imagefolder", "data.watch": ["imagefolder"], "data.split": 0.4}
    write_params(bench.work / "params.yaml", leaves)
    done = python("-c", WITHOUT_TORCH, "stages.source", "stages.prepare", cwd=bench.work)
    assert done.returncode == 0, done.stderr
    said = "imagefolder: 4 train, 2 test images, streamed, 2 classes, 1 without a label"
    assert said in done.stderr


def test_a_mistake_is_one_line_and_exit_code_1(bench: Bench):
    write_params(bench.work / "params.yaml", {"data.name": "parquet", "data.watch": ["parquet"]})
    bench.root.rmdir()
    done = python("-m", "stages.source", cwd=bench.work)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "SEPP_DATA_ROOT" in line


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path):
    """A limit on the size of a file stands for the disk: the write fails in the same place."""
    write_params(tmp_path / "params.yaml", {})

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = python("-B", "-m", "stages.prepare", cwd=tmp_path, preexec_fn=limit)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "data/images.npy: no space left" in line
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(("sizes", "changed"), [(EQUAL, "images"), (UNEQUAL, "manifest")])
def test_an_edited_image_of_the_same_size_changes_an_output(
    bench: Bench, sizes: list, changed: str
):
    """Later stages run again only where what they read has changed."""
    samples.folders(bench.root, FOLDERS, sizes)
    for file in bench.root.rglob("*.png"):  # not compressed: equal in length whatever they show
        Image.open(file).save(file.with_suffix(".bmp"))
        file.unlink()
    bench.run("imagefolder")
    before = getattr(bench, changed).read_bytes()
    image = bench.root / "train/dog/0.bmp"
    length = image.stat().st_size
    edited = 255 - np.asarray(Image.open(image))
    Image.fromarray(edited).save(image)
    assert image.stat().st_size == length
    store = bench.run("imagefolder")
    assert getattr(bench, changed).read_bytes() != before
    assert (store.pixels(3) == edited).all()


@pytest.mark.parametrize("sizes", [EQUAL, UNEQUAL])
@pytest.mark.parametrize("name", ["imagefolder", "parquet"])
def test_a_test_split_is_optional(bench: Bench, name: str, sizes: list):
    samples.folders(bench.root, {"train/cat": 2, "train/dog": 1}, sizes)
    images = [samples.pixels(i, sizes[i % len(sizes)]) for i in range(3)]
    samples.shard(bench.root / "train.parquet", [samples.encoded(i) for i in images], [0, 0, 1])
    store = bench.run(name)
    assert store.splits.tolist() == ["train"] * 3
    assert store.labels.tolist() == [0, 0, 1]
    for i, image in enumerate(images):
        assert (store.pixels(i) == image).all()


def test_a_missing_listing_names_the_stage_that_writes_it(bench: Bench):
    write_shards(bench.root, EQUAL)
    bench.run("parquet")
    params = prepare.Params.load(bench.work / "params.yaml")
    inputs = prepare.Inputs(bench.work / "absent.json")
    with pytest.raises(ArtifactError, match=r"absent\.json: is missing.*dvc repro source"):
        prepare.run(params, inputs, prepare.Outputs(bench.manifest, bench.images))
