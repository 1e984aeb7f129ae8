"""Features of images, streamed and on several devices: those of the encoder, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.common.errors import DataError, EmbeddingError
from stages.retrieval.embedding import BATCH, embed_images
from stages.retrieval.images import Images
from tests.retrieval.photos import write_encoder, write_photos

COUNT = 2 * BATCH + 10


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """The encoder, beside a folder `photos` of three batches, the last not whole."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    monkeypatch.setenv("SEPP_WORKERS", "2")
    write_photos(Path("photos"), [f"{place:03}.png" for place in range(COUNT)])
    return write_encoder(Path("encoder"))


def rows(encoder, layer: str = "backbone", skip_broken: bool = False):
    blocks = embed_images(encoder, Images(Path("photos")), layer, skip_broken, Path("encoder"))
    return list(blocks)


@pytest.mark.parametrize("layer", ["backbone", "projection"])
def test_they_are_the_encoders_on_one_device_and_on_several(encoder, monkeypatch, layer):
    blocks = rows(encoder, layer)
    assert [len(block.paths) for block in blocks] == [BATCH, BATCH, 10]
    paths = [path for block in blocks for path in block.paths]
    assert paths == [f"photos/{place:03}.png" for place in range(COUNT)]
    found = np.concatenate([block.features for block in blocks])
    assert np.array_equal(found, encoder.embed(paths, layer, BATCH).numpy())
    monkeypatch.setenv("SEPP_DEVICES", "2")
    several = rows(encoder, layer)
    assert np.array_equal(np.concatenate([block.features for block in several]), found)


def test_images_are_read_as_they_are_needed(encoder):
    read = []

    class Watched(Images):
        def __iter__(self):
            for one in super().__iter__():
                read.append(one.path)
                yield one

    images = Watched(Path("photos"))
    images.names *= 20
    blocks = embed_images(encoder, images, "backbone", False, Path("encoder"))
    next(blocks)
    blocks.close()
    assert len(read) <= 5 * BATCH < len(images)


def test_broken_images_stop_it_or_are_left_out_and_named(encoder, caplog):
    whole = np.concatenate([block.features for block in rows(encoder)])
    for place in (3, BATCH + 1):
        Path(f"photos/{place:03}.png").write_text("words")
    with pytest.raises(DataError, match=r"photos/003\.png: .*leave .* out: --skip-broken"):
        rows(encoder)
    blocks = rows(encoder, skip_broken=True)
    assert "photos/003.png" in caplog.text
    assert f"photos/{BATCH + 1:03}.png" in caplog.text
    found = np.concatenate([block.features for block in blocks])
    rest = [place for place in range(COUNT) if place not in (3, BATCH + 1)]
    np.testing.assert_allclose(found, whole[rest], rtol=1e-5, atol=1e-6)


def test_features_without_a_direction_are_refused(encoder):
    with torch.no_grad():
        encoder.backbone.conv1.weight.fill_(float("nan"))
    with pytest.raises(EmbeddingError, match=r"encoder: image photos/000\.png.*NaN"):
        rows(encoder)
