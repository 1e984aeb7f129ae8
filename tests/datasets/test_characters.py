"""The handwritten characters that the package ships, and the split to choose settings on."""

from pathlib import Path

import numpy as np
import pytest

from stages import datasets
from tests.datasets.bench import Bench

NOWHERE = Path("/nonexistent")  # they need no data root


@pytest.mark.parametrize(
    ("name", "train", "test"), [("characters", 2040, 680), ("characters_validation", 1632, 408)]
)
def test_every_class_is_on_both_sides_in_equal_parts(name, train, test):
    found = datasets.read(name, NOWHERE)
    assert [(s.name, len(s.labels)) for s in found.splits] == [("train", train), ("test", test)]
    assert len(found.classes) == 136
    assert found.classes[0] == "Balinese 1"
    for split in found.splits:
        assert split.pixels.shape[1:] == (28, 28, 3)
        counts = np.bincount(split.labels)
        assert (counts == len(split.labels) / 136).all()
        assert split.pixels.mean() < 64  # strokes are the white part


def test_settings_are_not_chosen_on_what_is_reported():
    """The validation split is of training images alone."""
    train, test = datasets.read("characters", NOWHERE).splits
    known = {image.tobytes() for image in train.pixels}
    chosen = datasets.read("characters_validation", NOWHERE).splits
    assert {image.tobytes() for split in chosen for image in split.pixels} == known
    assert len({image.tobytes() for image in test.pixels} - known) > 0.99 * len(test.pixels)


def test_prepare_packs_them_without_a_data_root(tmp_path):
    bench = Bench(tmp_path)
    bench.root.rmdir()
    store = bench.run("characters")
    assert store.packed.shape == (2720, 28, 28, 3)
    assert store.name == "characters"
