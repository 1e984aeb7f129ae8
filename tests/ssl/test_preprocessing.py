"""What an encoder sees of an image is the same wherever it is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps
from torchvision.transforms import v2

import stages
from stages.common.errors import BrokenImage, CheckpointError
from stages.common.images import ImageStore
from stages.common.pixels import decode
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.heads import mlp
from stages.ssl.inference import encode
from stages.ssl.preprocessing import central
from tests.conftest import write_folder_data

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path):
    """Of an encoder that takes images of 8 pixels."""
    torch.manual_seed(0)
    config = EncoderConfig("resnet10-w8", "cifar", 8, MEAN, STD, mlp(64, 16, 4))
    Encoder(config).save(tmp_path / "models/sepp-0")
    return tmp_path / "models/sepp-0"


def test_images_of_the_right_size_are_left_alone():
    pixels = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8)
    assert central(pixels, 224) is pixels


@pytest.mark.parametrize(("shape", "size", "edge"), [((300, 500), 224, 256), ((9, 40), 20, 23)])
def test_others_are_resized_and_their_centre_cropped(shape, size, edge):
    pixels = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    usual = v2.Compose([v2.Resize(edge, antialias=True), v2.CenterCrop(size)])
    assert torch.equal(central(pixels, size), usual(pixels))


def test_a_user_gets_the_features_that_the_stages_use(folder, tmp_path):
    write_folder_data(tmp_path)
    manifest, images = tmp_path / "data/manifest.parquet", tmp_path / "data/images.npy"
    store = ImageStore(manifest, images, root=tmp_path / "raw")
    encoder = stages.load_encoder(folder)
    for layer in ("backbone", "projection"):
        blocks = encode(Encoder.load(folder), store, store.ids, layer, 32, "test")
        expected = np.concatenate([features for _, features in blocks])
        files = [tmp_path / f"raw/{id}.png" for id in store.ids]
        assert np.array_equal(encoder.embed(files, layer, 32).numpy(), expected)


def test_an_image_is_given_as_it_is_at_hand(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = noise(30, 20)
    image.save(tmp_path / "a.png")
    encoder = stages.load_encoder(str(folder))
    assert not encoder.training
    several = encoder.embed([image, tmp_path / "a.png", str(tmp_path / "a.png")])
    assert several.shape == (3, 64)
    assert torch.equal(several[0], several[1])
    assert torch.equal(several[0], several[2])
    assert torch.equal(encoder.embed("a.png"), encoder.embed(image))  # one alone
    seen = encoder.preprocess(image)
    assert (seen.shape, seen.dtype) == ((3, 8, 8), torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(seen[None]), several[:1])
    assert encoder.embed([]).shape == (0, 64)
    grey = image.convert("L")
    assert torch.equal(encoder.preprocess(grey), encoder.preprocess(grey.convert("RGB")))


def test_an_opened_photograph_is_turned_as_its_file_is(folder, tmp_path):
    encoder, path = stages.load_encoder(folder), tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    noise(30, 20).save(path, exif=exif)
    of_file = encoder.preprocess(path)
    for image in (Image.open(path), decode(path), ImageOps.exif_transpose(Image.open(path))):
        assert torch.equal(encoder.preprocess(image), of_file)


def test_what_is_no_encoder_or_no_image_is_named(folder, tmp_path):
    with pytest.raises(CheckpointError, match="nothing: holds no encoder"):
        stages.load_encoder(tmp_path / "nothing")
    (tmp_path / "a.png").write_text("words")
    with pytest.raises(BrokenImage, match=r"a\.png: image does not decode"):
        stages.load_encoder(folder).embed([tmp_path / "a.png"])


def test_normalising_adds_nothing_to_what_is_saved(folder):
    assert not [key for key in Encoder.load(folder).state_dict() if key.startswith("normalize")]
