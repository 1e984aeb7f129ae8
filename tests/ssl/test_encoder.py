"""Saved encoders, and every kind of weights that `sampler.checkpoint` takes or refuses."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from stages.common.errors import CheckpointError
from stages.common.given import Given
from stages.ssl.backbones import build_backbone
from stages.ssl.checkpoints import from_checkpoint
from stages.ssl.encoder import Encoder, EncoderConfig, weights_digest
from stages.ssl.heads import mlp

PLAIN = EncoderConfig("resnet10", "cifar", 8, (0.5,) * 3, (0.25,) * 3)
HEAD = mlp(512, 16, 4, norm=None)
WITH_HEAD = EncoderConfig(**{**vars(PLAIN), "projection": HEAD})
X = torch.rand(2, 3, 8, 8)


def given(name: object) -> Given:
    return Given("sampler.checkpoint", str(name))


def randomised(config: EncoderConfig = WITH_HEAD) -> Encoder:
    torch.manual_seed(1)
    encoder = Encoder(config)
    for name, buffer in encoder.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return encoder.eval()


def same(a: Encoder, b: Encoder, layer: str) -> bool:
    with torch.no_grad():
        return torch.equal(a(X, layer), b(X, layer))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    encoder = randomised()
    encoder.save(tmp_path / "e")
    again = Encoder.load(tmp_path / "e")
    assert same(encoder, again, "projection")
    assert weights_digest(again) == weights_digest(encoder)
    assert again.config.projection == [list(layer) for layer in HEAD]


def test_equal_encoders_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        randomised().save(tmp_path / name)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_dimensions_and_a_missing_projection():
    assert (randomised().dim("backbone"), randomised().dim("projection")) == (512, 4)
    with pytest.raises(CheckpointError, match=r"no projection head: set embed\.layer: backbone"):
        randomised(PLAIN).dim("projection")


def test_an_earlier_run_is_a_checkpoint(tmp_path):
    randomised().save(tmp_path / "sepp-0")
    assert same(from_checkpoint(given(tmp_path / "sepp-0"), PLAIN), randomised(), "projection")


def wrapped(kind: str) -> dict:
    encoder = randomised()
    body = encoder.backbone.state_dict()
    if kind == "torchvision":  # with the classifier that torchvision's own files have
        return body | {"fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}
    if kind == "moco":
        head = {k.replace("layers.", "fc."): v for k, v in encoder.projection.state_dict().items()}
        query = {f"module.encoder_q.{k}": v for k, v in (body | head).items()}
        key = {k.replace("encoder_q", "encoder_k"): v + 1 for k, v in query.items()}
        return {"epoch": 200, "arch": "resnet10", "state_dict": key | query}
    return {"model": {f"backbone.{k}": v for k, v in body.items()}}


@pytest.mark.parametrize("kind", ["torchvision", "moco", "prefixed"])
def test_state_dict_files(tmp_path, kind):
    torch.save(wrapped(kind), tmp_path / "weights.pth")
    loaded = from_checkpoint(given(tmp_path / "weights.pth"), PLAIN)
    assert same(loaded, randomised(), "backbone")
    assert (loaded.projection is not None) == (kind == "moco")
    if kind == "moco":
        assert same(loaded, randomised(), "projection")


def test_safetensors_file(tmp_path):
    save_file(dict(randomised().backbone.state_dict()), tmp_path / "w.safetensors")
    assert same(from_checkpoint(given(tmp_path / "w.safetensors"), PLAIN), randomised(), "backbone")


def test_keys_that_do_not_fit_are_named(tmp_path):
    weights = dict(randomised().backbone.state_dict())
    weights["layer9.conv.weight"] = weights.pop("layer1.0.conv1.weight")
    weights["conv1.weight"] = torch.zeros(64, 3, 7, 7)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError) as error:
        from_checkpoint(given(tmp_path / "w.safetensors"), PLAIN)
    message = str(error.value)
    assert "missing layer1.0.conv1.weight" in message
    assert "unknown layer9.conv.weight" in message
    assert "conv1.weight (64, 3, 7, 7) instead of (64, 3, 3, 3)" in message
    assert "\n" not in message


class Attack:
    def __reduce__(self):
        return (print, ("arbitrary code ran",))


def test_a_pickle_is_never_executed(tmp_path, capsys):
    torch.save({"state_dict": Attack()}, tmp_path / "evil.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Attack()))
    for name in ("evil.pth", "raw.pth"):
        with pytest.raises(CheckpointError, match="does not load as plain weights"):
            from_checkpoint(given(tmp_path / name), PLAIN)
    assert "arbitrary" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not weights"])
def test_garbage_is_refused(tmp_path, content):
    for name in ("w.pth", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="does not load as plain weights"):
            from_checkpoint(given(tmp_path / name), PLAIN)


def test_an_encoder_folder_with_foreign_weights_is_refused(tmp_path):
    randomised().save(tmp_path / "e")
    config = json.loads((tmp_path / "e/config.json").read_text())
    (tmp_path / "e/config.json").write_text(json.dumps({**config, "stem": "imagenet"}))
    with pytest.raises(CheckpointError, match=r"conv1\.weight"):
        Encoder.load(tmp_path / "e")


def test_torchvision_weight_by_name(monkeypatch):
    """The real lookup; only the download is replaced."""
    source, _ = build_backbone("resnet18", "imagenet")
    full = source.state_dict() | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", lambda *a, **k: full)
    encoder = from_checkpoint(given("ResNet18_Weights.IMAGENET1K_V1"), PLAIN)
    assert encoder.config.image_size == 224
    assert encoder.config.mean == (0.485, 0.456, 0.406)
    assert torch.equal(encoder.backbone.conv1.weight, source.conv1.weight)


@pytest.mark.parametrize("name", ["nowhere.pth", "ResNet18_Weights.IMAGENET1K_V9"])
def test_unknown_names(name):
    with pytest.raises(CheckpointError, match=name):
        from_checkpoint(given(name), PLAIN)
