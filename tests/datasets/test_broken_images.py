"""Images that do not decode: prepare names them, or leaves them out where it may."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stages.common.errors import BrokenImage, DataError
from tests.datasets import samples
from tests.datasets.bench import EQUAL, FOLDERS, UNEQUAL, Bench


def test_a_broken_file_is_named(bench: Bench):
    samples.folders(bench.root, FOLDERS, UNEQUAL)
    (bench.root / "train/dog/1.png").write_bytes(samples.truncated_jpeg())
    with pytest.raises(BrokenImage) as error:
        bench.run("imagefolder")
    assert str(bench.root / "train/dog/1.png") in str(error.value)
    assert "skip_broken" in str(error.value)
    assert list(bench.work.glob("*.npy")) == list(bench.work.glob(".*partial")) == []


def test_a_broken_row_is_named(bench: Bench):
    good = samples.encoded(samples.pixels(0))
    for bad in (samples.truncated_jpeg(), b"no image", b"", None):
        samples.shard(bench.root / "train.parquet", [good, good, bad], [0, 1, 1])
        with pytest.raises(BrokenImage, match=r"train\.parquet row 2"):
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
    with pytest.raises(BrokenImage, match=r"train/cat/1\.png.*No such file.*skip_broken") as error:
        bench.run("imagefolder")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_more_than_8_bits_a_channel_are_refused(bench: Bench, kind: type):
    """Pillow's conversion to RGB makes all above 255 white, without a word."""
    (bench.root / "train/cat").mkdir(parents=True)
    values = np.arange(64).reshape(8, 8) * 1000
    Image.fromarray(values.astype(kind)).save(bench.root / "train/cat/0.tiff")
    with pytest.raises(BrokenImage, match=r"train/cat/0\.tiff.*8 bits"):
        bench.run("imagefolder")


def test_bytes_that_are_no_image_have_a_message_without_an_address(bench: Bench):
    samples.shard(bench.root / "train.parquet", [b"no image"], [0])
    with pytest.raises(BrokenImage, match=r"row 0: .*no image format") as error:
        bench.run("parquet")
    assert "0x" not in str(error.value)
