"""Images that do not decode: prepare names them, or leaves them out where it may."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stages import source
from stages.common.errors import BrokenImages, DataError
from tests.conftest import write_params
from tests.datasets import samples
from tests.datasets.bench import EQUAL, FOLDERS, UNEQUAL, Bench


def test_a_broken_file_is_named(bench: Bench):
    samples.folders(bench.root, FOLDERS, UNEQUAL)
    (bench.root / "train/dog/1.png").write_bytes(samples.truncated_jpeg())
    with pytest.raises(BrokenImages) as error:
        bench.run("imagefolder")
    assert str(bench.root / "train/dog/1.png") in str(error.value)
    assert "skip_broken" in str(error.value)
    assert list(bench.work.glob("*.npy")) == list(bench.work.glob(".*partial")) == []


def test_a_broken_row_is_named(bench: Bench):
    good = samples.encoded(samples.pixels(0))
    for bad in (samples.truncated_jpeg(), b"no image", b"", None):
        samples.shard(bench.root / "train.parquet", [good, good, bad], [0, 1, 1])
        with pytest.raises(BrokenImages, match=r"train\.parquet row 2"):
            bench.run("parquet")


@pytest.mark.parametrize("sizes", [EQUAL, UNEQUAL])
def test_broken_images_can_be_left_out(bench: Bench, sizes: list, caplog: pytest.LogCaptureFixture):
    samples.folders(bench.root, FOLDERS, sizes)
    (bench.root / "train/cat/1.png").write_bytes(samples.truncated_jpeg())
    store = bench.run("imagefolder", skip_broken=True)
    kept = [0, 2, 3, 4, 5, 6]
    for i, original in enumerate(kept):
        expected = samples.pixels(original, sizes[original % len(sizes)])
        assert (store.pixels(i) == expected).all()
    assert store.ids.tolist() == list(range(6))
    assert store.labels.tolist() == [0, 0, 1, 1, 0, 1]
    assert bench.about()["left_out"] == 1
    assert "train/cat/1.png" in caplog.text


def test_a_train_split_without_images_is_refused(bench: Bench):
    samples.shard(bench.root / "train.parquet", [b"no image"], [0])
    with pytest.raises(DataError, match="train"):
        bench.run("parquet", skip_broken=True)


@pytest.mark.parametrize("skip", [False, True])
def test_a_link_to_nowhere_is_a_broken_image(bench: Bench, skip: bool):
    samples.folders(bench.root, FOLDERS, UNEQUAL)
    (bench.root / "train/cat/1.png").unlink()
    (bench.root / "train/cat/1.png").symlink_to("absent.png")
    if skip:
        assert len(bench.run("imagefolder", skip_broken=True).ids) == 6
        assert bench.about()["left_out"] == 1
        return
    with pytest.raises(BrokenImages, match=r"train/cat/1\.png.*No such file.*skip_broken") as error:
        bench.run("imagefolder")
    assert "\n" not in str(error.value)


def test_all_are_named_at_once_and_listed(bench: Bench):
    """Of every split; the line has the first twenty, the file all."""
    samples.folders(
        bench.root, {"train/cat": 20, "train/dog": 1, "val/cat": 1, "val/dog": 6}, EQUAL
    )
    broken = [*bench.root.glob("train/cat/*"), *bench.root.glob("val/dog/*")][:25]
    for file in broken:
        file.write_bytes(b"a text, and no image")
    with pytest.raises(BrokenImages) as error:
        bench.run("imagefolder")
    message = str(error.value)
    assert message.startswith("25 images do not decode: ")
    assert message.count("begins with b'a text") == 20
    assert f" and 5 more; listed in {bench.unread}; " in message
    assert {name for name, _ in bench.unread_rows()} == {str(file) for file in broken}
    assert not bench.manifest.exists()


def test_the_list_goes_when_it_is_no_longer_true(bench: Bench):
    files = samples.folders(bench.root, FOLDERS, UNEQUAL)
    whole = files[1].read_bytes()
    files[1].write_bytes(samples.truncated_jpeg())
    with pytest.raises(BrokenImages):
        bench.run("imagefolder")
    bench.run("imagefolder", skip_broken=True)
    ((name, reason),) = bench.unread_rows()
    assert name == str(files[1])
    assert "truncated" in reason
    files[1].write_bytes(whole)
    bench.run("imagefolder")
    assert not bench.unread.exists()


def test_source_takes_the_list_away_when_files_have_changed(bench: Bench):
    """DVC then restores what prepare made of them before, and prepare does not run."""
    files = samples.folders(bench.root, FOLDERS, UNEQUAL)
    leaves = {"data.name": "imagefolder", "data.watch": ["imagefolder"]}
    params = source.Params.load(write_params(bench.work / "params.yaml", leaves))
    outputs = source.Outputs(bench.work / "source.json")
    source.run(params, outputs)
    bench.unread.write_text("file,reason\n")
    source.run(params, outputs)
    assert bench.unread.exists()
    files[0].unlink()
    source.run(params, outputs)
    assert not bench.unread.exists()


def test_images_that_are_all_but_black_are_told(bench: Bench, caplog: pytest.LogCaptureFixture):
    """Such as values of 12 bits that are stored in 16."""
    samples.folders(bench.root, {"train/cat": 1, "train/dog": 1}, EQUAL)
    Image.fromarray(np.full((6, 8), 4095, np.uint16)).save(bench.root / "train/cat/dark.png")
    bench.run("imagefolder")
    assert "all but black: 1, such as" in caplog.text
    assert "train/cat/dark.png" in caplog.text


def test_bytes_that_are_no_image_have_a_message_without_an_address(bench: Bench):
    samples.shard(bench.root / "train.parquet", [b"no image"], [0])
    with pytest.raises(BrokenImages, match=r"row 0 \(no image format") as error:
        bench.run("parquet")
    assert "0x" not in str(error.value)
