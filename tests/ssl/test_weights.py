"""Weights of timm's models, of Hugging Face folders, and those that trainings start from."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models import save_for_hf

from stages.common import weights
from stages.common.errors import CheckpointError
from stages.common.given import Given
from stages.common.params import load_all
from stages.ssl.checkpoints import backbone_weights, from_checkpoint
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.heads import mlp
from stages.ssl.pretraining import new_method
from tests.ssl.tiny import values
from tests.ssl.training import train_tiny, write_project

HALF = ((0.5,) * 3, (0.5,) * 3)  # mean and deviation
X = torch.rand(2, 3, 32, 32)


def given(name: object, leaf: str = "sampler.checkpoint") -> Given:
    return Given(leaf, str(name))


def made(name: str, **keywords) -> torch.nn.Module:
    """timm's model, with a classifier of 5, and running statistics of its own."""
    torch.manual_seed(1)
    model = timm.create_model(name, num_classes=5, **keywords)
    for key, buffer in model.named_buffers():
        if "running" in key:
            buffer.uniform_(0.5, 1.5)
    return model.eval()


@torch.no_grad()
def features(model: torch.nn.Module, x: torch.Tensor = X) -> torch.Tensor:
    return model.forward_head(model.forward_features(x), pre_logits=True)


MODELS = [("test_resnet", {}), ("test_convnext", {}), ("test_vit", {"img_size": 32})]


@pytest.mark.parametrize(("name", "keywords"), MODELS)
def test_timms_state_dict_is_a_checkpoint_without_its_classifier(tmp_path, name, keywords):
    model = made(name, **keywords)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    config = EncoderConfig(f"timm/{name}", "imagenet", 32, *HALF)
    encoder = from_checkpoint(given(tmp_path / "w.safetensors"), config)
    torch.testing.assert_close(encoder(X), features(model))
    assert encoder.config == config


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize(("name", "keywords"), MODELS)
def test_a_hugging_face_folder_brings_its_network_and_preprocessing(tmp_path, name, keywords, safe):
    model = made(name, **keywords)
    preprocessing = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    if not keywords:
        preprocessing["input_size"] = (3, 48, 48)
    save_for_hf(model, tmp_path / "hf", safe_serialization=safe, data_config=preprocessing)
    other = EncoderConfig("resnet10", "cifar", 8, *HALF)
    encoder = from_checkpoint(given(tmp_path / "hf"), other)
    config = encoder.config
    assert (config.backbone, config.stem) == (f"timm/{name}", "imagenet")
    assert (config.mean, config.std) == (preprocessing["mean"], preprocessing["std"])
    assert config.image_size == (32 if keywords else 48)
    torch.testing.assert_close(encoder(X), features(model))


def test_a_patch_size_of_a_folder_is_that_of_the_backbone(tmp_path):
    model = made("test_vit", img_size=32, patch_size=8)
    save_for_hf(model, tmp_path / "hf", safe_serialization=True)
    encoder = from_checkpoint(given(tmp_path / "hf"), EncoderConfig("resnet10", "cifar", 8, *HALF))
    assert encoder.config.backbone == "timm/test_vit-p8"
    torch.testing.assert_close(encoder(X), features(model))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_args": {"global_pool": "max"}}, "model_args .*max.* make another network than"),
        ({"model_args": {"in_chans": 1}}, "model_args .*make another network than"),
        ({"model_args": {"depths": 1}}, "timm cannot make that .*unexpected keyword .*depths"),
        ({"architecture": "test_rasnet"}, "timm cannot make that .*near it are timm/test_resnet"),
        ({"pretrained_cfg": {"input_size": [3, 64, 32], "mean": [0], "std": [1]}}, "64x32 pixels"),
    ],
)
def test_a_folder_of_another_network_is_refused(tmp_path, changes, said):
    save_for_hf(made("test_resnet"), tmp_path, safe_serialization=True)
    about = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**about, **changes}))
    with pytest.raises(CheckpointError, match=said) as error:
        from_checkpoint(given(tmp_path), EncoderConfig("resnet10", "cifar", 8, *HALF))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "more",
    [
        {"pretrained": True},
        {"pretrained": True, "pretrained_cfg_overlay": {"file": "absent.pth"}},
        {"checkpoint_path": "absent.pth"},
    ],
)
def test_a_folder_makes_timm_read_no_other_weights(tmp_path, monkeypatch, more):
    fetched = []
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", fetched.append)
    model = made("test_resnet")
    save_for_hf(model, tmp_path, safe_serialization=True)
    about = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**about, "model_args": more}))
    encoder = from_checkpoint(given(tmp_path), EncoderConfig("resnet10", "cifar", 8, *HALF))
    torch.testing.assert_close(encoder(X), features(model))
    assert not fetched


def test_timms_weights_by_name(monkeypatch):
    """The real lookup; only the download is replaced."""
    model = made("test_vit")
    whole = {**model.state_dict()} | {"head.weight": torch.zeros(1000, 64)}
    whole["head.bias"] = torch.zeros(1000)
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", lambda *a, **k: whole)
    encoder = from_checkpoint(given("timm/test_vit.r160_in1k"), EncoderConfig("", "", 8, *HALF))
    assert (encoder.config.backbone, encoder.config.image_size) == ("timm/test_vit", 160)
    x = torch.rand(1, 3, 160, 160)
    torch.testing.assert_close(encoder(x), features(model, x))


def test_names_that_timm_does_not_have_or_cannot_fetch(monkeypatch):
    config = EncoderConfig("resnet10", "cifar", 8, *HALF)
    with pytest.raises(CheckpointError, match=r"no such weights; there are timm/test_vit\.r160"):
        from_checkpoint(given("timm/test_vit"), config)

    def offline(*_, **__):
        raise FileNotFoundError("no connection\nto the hub")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", offline)
    with pytest.raises(CheckpointError, match=r"could not fetch these weights \(no connection\)$"):
        from_checkpoint(given("timm/test_vit.r160_in1k"), config)


def test_position_embeddings_are_interpolated_for_another_size(tmp_path, caplog):
    model = made("test_vit", img_size=64)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    config = EncoderConfig("timm/test_vit", "imagenet", 32, *HALF)
    with caplog.at_level(logging.INFO):
        found = backbone_weights(given(tmp_path / "w.pth"), config)
    expected = resample_abs_pos_embed(model.pos_embed, [2, 2], num_prefix_tokens=1)
    torch.testing.assert_close(found["pos_embed"], expected)
    assert "timm/test_vit: timm has translated or resized pos_embed" in caplog.text
    rest = [key for key in found if key != "pos_embed"]
    assert all(torch.equal(found[key], model.state_dict()[key]) for key in rest)


def refused(name: str, path: Path, lacking: str) -> str:
    """What is said of timm's weights without `lacking`."""
    kept = {key: value for key, value in made(name).state_dict().items() if key != lacking}
    save_file(kept, path)
    with pytest.raises(CheckpointError) as error:
        from_checkpoint(given(path), EncoderConfig(f"timm/{name}", "imagenet", 32, *HALF))
    return str(error.value)


def test_what_is_lacking_is_not_made_up(tmp_path, monkeypatch):
    """Nor what timm starts with ones, by models that take whatever fits, nor what it draws."""
    norm = "base_layer.1.weight"
    assert norm in refused("dla46x_c", tmp_path / "w.safetensors", norm)
    load = timm.models._builder.load_pretrained

    def loosely(*args, **keywords) -> None:
        load(*args, **{**keywords, "strict": False})

    monkeypatch.setattr(timm.models._builder, "load_pretrained", loosely)
    drawn = "blocks.0.attn.qkv.weight"
    assert drawn in refused("test_vit", tmp_path / "w.safetensors", drawn)


def test_arguments_beside_the_weights_are_no_hindrance(tmp_path):
    """As in the files of timm's and many other trainings."""
    model = made("test_resnet")
    saved = {"state_dict": model.state_dict(), "args": argparse.Namespace(lr=0.1), "epoch": 3}
    torch.save(saved, tmp_path / "last.pth.tar")
    config = EncoderConfig("timm/test_resnet", "imagenet", 32, *HALF)
    encoder = from_checkpoint(given(tmp_path / "last.pth.tar"), config)
    torch.testing.assert_close(encoder(X), features(model))


# Trainings that start from weights.


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / ".state"))
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    backbone = {"pretrain.backbone": "timm/test_resnet", "pretrain.stem": "imagenet"}
    start = {"pretrain.weights": "start", "watch": ["pretrain"], "views.image_size": 32}
    write_project(tmp_path, **backbone, **start)
    config = EncoderConfig("timm/test_resnet", "imagenet", 32, *HALF, mlp(96, 8, 4))
    torch.manual_seed(2)
    Encoder(config).save(tmp_path / "start")
    return tmp_path


@pytest.mark.parametrize("method", ["simclr", "moco", "byol"])
def test_online_encoder_and_moving_average_start_from_the_weights(project, method):
    """simclr and byol start random ResNets with last norms of 0: not these."""
    settings = load_all(project / "params.yaml")
    training = settings.pretrain.model_copy(update={"method": method})
    made = new_method(training, values(method), settings.views, seed=0)
    start = Encoder.load(project / "start").backbone.state_dict()
    averages = [m for name, m in made.named_modules() if name.endswith("average.0")]
    assert len(averages) == (method != "simclr")
    for backbone in (made.backbone, *averages):
        assert all(torch.equal(backbone.state_dict()[k], v) for k, v in start.items())


def test_a_training_says_what_it_started_from(project):
    encoder, _ = train_tiny("simsiam", 1, base_lr=1e-9)
    digest = weights.describe(given("start", "pretrain.weights"))["digest"]
    assert encoder.config.training["weights"] == {"name": "start", "digest": digest}
    start = Encoder.load(project / "start").backbone.layer1[0].conv1.weight
    torch.testing.assert_close(encoder.backbone.layer1[0].conv1.weight, start)


def test_other_preprocessing_than_the_weights_is_told(project, caplog):
    config = EncoderConfig("timm/test_resnet", "imagenet", 32, (0.1,) * 3, (0.5,) * 3)
    backbone_weights(given("start", "pretrain.weights"), config)
    assert "pretrain.weights start was trained on images of mean (0.5, 0.5, 0.5)" in caplog.text
