"""data.resize: of every image the central square, at one size, whatever sizes there are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stages.common.errors import ParamError
from stages.common.pixels import square
from tests.datasets import samples
from tests.datasets.bench import EQUAL, FOLDERS, UNEQUAL, Bench, write_shards


@pytest.mark.parametrize("layout", ["imagefolder", "parquet"])
def test_images_of_all_sizes_are_packed(bench: Bench, layout: str):
    samples.folders(bench.root, FOLDERS, UNEQUAL)
    write_shards(bench.root, UNEQUAL)
    store = bench.run(layout, resize=4)
    assert store.packed.shape == (len(store.ids), 4, 4, 3)
    sizes = [UNEQUAL[i % len(UNEQUAL)] for i in range(len(store.ids))]
    for i, size in enumerate(sizes):
        expected = square(Image.fromarray(samples.pixels(i, size)), 4)
        assert (store.pixels(i) == np.asarray(expected)).all()
    assert bench.about()["resize"] == 4
    keys = [store.key(i) for i in store.ids]
    assert len(set(keys)) == len(keys)
    first = bench.images.read_bytes(), bench.manifest.read_bytes()
    assert [bench.run(layout, resize=4).key(i) for i in store.ids] == keys
    assert (bench.images.read_bytes(), bench.manifest.read_bytes()) == first


def test_images_that_are_so_large_stay_as_they_are(bench: Bench):
    images = write_shards(bench.root, [(6, 6)])
    assert (bench.run("parquet", resize=6).packed == np.stack(images)).all()
    assert (bench.run("parquet").packed == np.stack(images)).all()
    assert bench.about()["resize"] is None


def test_bundled_images_too(bench: Bench):
    resized = np.array(bench.run("digits", resize=4).packed)
    plain = bench.run("digits")
    assert resized.shape[1:] == (4, 4, 3)
    for i in (0, 700, 1796):
        assert (resized[i] == np.asarray(square(plain.read(i), 4))).all()


def test_what_does_not_fit_is_refused(bench: Bench):
    write_shards(bench.root, EQUAL)
    with pytest.raises(
        ParamError, match=r"data\.resize: 4000: .* take 0\.4 GiB, .* is 0\.1: raise"
    ):
        bench.run("parquet", resize=4000, pack_gib=0.1)


@pytest.mark.parametrize("size", [(30, 10), (10, 30), (10, 10)])
def test_the_square_is_the_centre(size):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - 10) // 2, (size[0] - 10) // 2
    pixels[top : top + 10, left : left + 10] = 200
    assert (np.asarray(square(Image.fromarray(pixels), 5)) > 150).all()  # the filter sees beside it
    small = np.asarray(square(Image.fromarray(pixels), 20))
    assert small.shape == (20, 20, 3)
    assert np.median(small) == 200
