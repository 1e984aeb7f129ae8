"""What is exported gives, in the libraries that it is for, the features of the encoder."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from stages.common.pixels import decode
from stages.formats import ExportError, facts, torchvision
from stages.formats.huggingface import crop_share
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.preprocessing import fitted, shorter_edge
from tests.formats.encoders import KINDS, MEAN, STD, made, write_photo

TOLERANCE = 1e-5
HUGGINGFACE = ["narrow, of small images", "of ten layers", "no ResNet", "of timm"]
HUGGINGFACE += ["of timm, of small images"]
# What each cannot hold.
BEYOND = {
    ("timm", "no ResNet"): "torchvision, huggingface and onnx",
    ("torchvision", "of timm"): "timm, huggingface and onnx",
    ("torchvision", "of timm, of small images"): "timm, huggingface and onnx",
}


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """Writes an encoder in a format, runs the Python that loads it, and gives its features of
    photo.jpg, which are of another size than the encoder takes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    write_photo(tmp_path / "photo.jpg")

    def export(name: str, encoder, layer: str = "backbone"):
        module = importlib.import_module(f"stages.formats.{name}")
        out = f"exported{module.SUFFIX}"
        if not module.SUFFIX:
            (tmp_path / out).mkdir()
        module.write(encoder, layer, tmp_path / out)
        code = module.usage(encoder, layer, out)
        assert "stages" not in code
        known: dict = {}
        exec(compile(code, name, "exec"), known)
        known["features"] = np.asarray(known["features"])
        return known

    return export


def assert_equal(found, encoder):
    expected = encoder.embed(["photo.jpg"]).numpy()
    assert found["features"].shape == expected.shape
    np.testing.assert_allclose(found["features"], expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_weights_load_into_the_librarys_own_network(exported, name, kind):
    encoder = made(kind)
    if (name, kind) in BEYOND:
        with pytest.raises(ExportError, match=f"--format {BEYOND[name, kind]} hold it"):
            exported(name, encoder)
    else:
        assert_equal(exported(name, encoder), encoder)


def test_a_transformer_is_made_for_the_size_of_its_images():
    with torch.device("meta"):  # 86 million weights that are never made
        encoder = Encoder(EncoderConfig("vit_b_16", "imagenet", 32, MEAN, STD))
        known: dict = {}
        imports, lines = torchvision.network(encoder)
        exec("\n".join(["from torch import nn", *imports, *lines]), known)
    shapes = {key: value.shape for key, value in encoder.backbone.state_dict().items()}
    assert shapes == {key: value.shape for key, value in known["model"].state_dict().items()}
    assert shapes["encoder.pos_embedding"] == (1, 5, 768)


def test_a_file_of_weights_says_how_images_are_preprocessed(exported, tmp_path):
    encoder = made("usual")
    exported("torchvision", encoder)
    with safe_open(tmp_path / "exported.safetensors", "pt") as file:
        told = json.loads(file.metadata()["encoder"])
    assert told == facts(encoder, "backbone")
    assert (told["image_size"], told["shorter_edge"]) == (32, 37)
    assert (told["mean"], told["std"]) == (list(MEAN), list(STD))


def test_timm_resizes_to_the_edge_that_we_resize_to():
    assert crop_share(224) == 0.875
    for size in range(4, 1025):
        assert math.floor(size / crop_share(size)) == shorter_edge(size)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HUGGINGFACE)
def test_transformers_loads_the_folder(exported, kind):
    encoder = made(kind)
    assert_equal(exported("huggingface", encoder), encoder)
    from transformers import AutoImageProcessor, AutoModel

    named = kind in ("of ten layers", "of timm")  # by timm: no code to be trusted
    model = AutoModel.from_pretrained("exported", trust_remote_code=not named)
    processor = AutoImageProcessor.from_pretrained("exported", trust_remote_code=not named)
    image = write_photo("other.png", 300, 200)
    seen = processor([image], return_tensors="pt")["pixel_values"]
    levels = (seen[0] - encoder.preprocess(image)).abs() * encoder.normalize.std * 255
    assert levels.max() <= (1.01 if named else 0)  # which resizes by Pillow
    with torch.inference_mode():
        found = model(seen).pooler_output
        torch.testing.assert_close(found, encoder(seen), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["backbone", "projection"])
def test_onnxruntime_gives_the_features_of_any_number_of_images(exported, tmp_path, layer):
    import onnx

    encoder = made("narrow, of small images")
    known = exported("onnx", encoder, layer)
    own = fitted(decode(Path("photo.jpg")), 20).numpy()
    assert np.abs(known["images"][0].astype(int) - own).max() <= 1  # Pillow rounds otherwise
    found, pixels = [known["features"]], torch.from_numpy(known["images"])
    more = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8)
    found.append(known["session"].run(None, {"images": more.numpy()})[0])
    with torch.inference_mode():
        for x, features in zip((pixels, more), found, strict=True):
            expected = encoder(encoder.normalize(x / 255), layer).numpy()
            np.testing.assert_allclose(features, expected, rtol=TOLERANCE, atol=TOLERANCE)
    graph = onnx.load(tmp_path / "exported.onnx")
    told = {entry.key: json.loads(entry.value) for entry in graph.metadata_props}
    assert told == facts(encoder, layer)
    onnx.checker.check_model(graph, full_check=True)
    assert b"encoder.py" not in (tmp_path / "exported.onnx").read_bytes()  # no trace of our code
