"""timm's models as backbones: what is made of a name, and that they train and resume as others."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from stages.common.errors import SeppError
from stages.ssl.backbones import build_backbone, zero_last_norms
from stages.ssl.batch_norm import SplitBatchNorm, split_batch_norms, sync_batch_norms
from stages.ssl.batches import instance_rows
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.heads import mlp
from stages.ssl.pretraining import Pretraining
from tests.ssl.training import train_tiny, write_project


def state_of(name: str, **keywords) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0, **keywords).state_dict()


def alike(model: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[k], v) for k, v in state.items())


@pytest.mark.parametrize(
    ("name", "stem", "size", "dim", "keywords"),
    [
        ("resnet10t", "imagenet", 32, 512, {"zero_init_last": False}),
        ("convnext_atto", "imagenet", 32, 320, {}),
        ("vit_tiny_patch16_224", "imagenet", 32, 192, {"img_size": 32}),
        ("vit_tiny_patch16_224-p4", "imagenet", 20, 192, {"img_size": 20, "patch_size": 4}),
        ("mobilenetv3_small_050", "imagenet", 64, 1024, {}),  # whose num_features are 288
    ],
)
def test_a_backbone_is_timms_model_for_the_views_size(name, stem, size, dim, keywords):
    torch.manual_seed(0)
    model, told = build_backbone(f"timm/{name}", stem, size)
    assert told == dim
    assert alike(model, state_of(name.partition("-")[0], **keywords))
    assert model.eval()(torch.rand(2, 3, size, size)).shape == (2, dim)


@pytest.mark.parametrize("name", ["resnet18", "resnet10t"])  # a 7x7 and a deep stem
def test_cifar_stem_keeps_the_resolution(name):
    model, dim = build_backbone(f"timm/{name}", "cifar", 16)
    seen = []
    model.layer1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[2:]))
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, dim)
    assert seen == [(16, 16)]
    assert model.state_dict().keys() == state_of(name).keys()


@pytest.mark.parametrize(
    ("name", "stem", "said"),
    [
        ("vit_tiny_patch16_244", "imagenet", "near it are timm/vit_tiny_patch16_224, "),
        ("resnet10t.c3_in1k", "imagenet", "unknown .*; near it are timm/resnet10t, "),
        ("", "imagenet", "unknown backbone 'timm/'; near it are timm/"),
        ("convnext_atto", "cifar", "stem: cifar is for ResNets; backbone timm/convnext_atto"),
        ("vit_tiny_patch16_224-p0", "imagenet", "cannot be made with img_size 32"),
        ("resnet10t-p4", "imagenet", "made with patch_size 4 .*unexpected.*'patch_size'"),
    ],
)
def test_what_cannot_be_built_is_named(name, stem, said):
    with pytest.raises(SeppError, match=said):
        build_backbone(f"timm/{name}", stem, 32)


@pytest.mark.parametrize("name", ["resnet10t", "regnetx_002"])
def test_zeroed_last_norms_are_timms(name):
    torch.manual_seed(0)
    model, _ = build_backbone(f"timm/{name}", "imagenet", 32)
    zero_last_norms(model)
    assert alike(model, state_of(name, zero_init_last=True))


def test_a_vit_takes_crops_of_other_sizes_and_refuses_a_part_of_a_patch():
    model, _ = build_backbone("timm/vit_tiny_patch16_224", "imagenet", 64)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 192)
    with pytest.raises(AssertionError, match="should be divisible by patch size"):
        model(torch.rand(2, 3, 40, 40))


def test_batch_norms_that_activate_still_do_when_they_are_split_or_synchronised():
    """Most of timm's convolutional networks have norm and activation in one module."""
    x = torch.rand(8, 3, 32, 32)
    plain, split, synced = (build_backbone("timm/regnetx_002", "imagenet", 32)[0] for _ in range(3))
    for model in (split, synced):
        model.load_state_dict(plain.state_dict())
    split_batch_norms(split, 2)
    sync_batch_norms(synced, torch.device("cpu"))
    norms = [type(m) for m in plain.modules() if isinstance(m, nn.BatchNorm2d)]
    assert sum(isinstance(m, SplitBatchNorm) for m in split.modules()) == len(norms) > 0
    assert not any(type(m) in norms for m in synced.modules())
    with torch.no_grad():
        halves = torch.cat([plain.train()(half) for half in x.chunk(2)])
        torch.testing.assert_close(split.train()(x), halves)
        torch.testing.assert_close(synced.train()(x), plain.train()(x))
        split.load_state_dict(plain.state_dict())
        torch.testing.assert_close(split.eval()(x), plain.eval()(x))


def test_without_batch_norms_it_is_said_that_nothing_is_split(caplog):
    model, _ = build_backbone("timm/test_vit", "imagenet", 32)
    with caplog.at_level("INFO"):
        split_batch_norms(model, 4)
    assert [
        r.message for r in caplog.records if "bn_splits: 4" in r.message and "nothing" in r.message
    ]


SHOWN = ("timm/resnet10t", "timm/convnext_atto", "timm/vit_tiny_patch16_224")


@pytest.mark.parametrize("name", SHOWN)
def test_saved_and_loaded_it_is_the_same(tmp_path, name):
    _, dim = build_backbone(name, "imagenet", 32)
    head = mlp(dim, 16, 8, norm=None)
    encoder = Encoder(EncoderConfig(name, "imagenet", 32, (0.5,) * 3, (0.25,) * 3, head)).eval()
    encoder.save(tmp_path / "e")
    again, x = Encoder.load(tmp_path / "e"), torch.rand(2, 3, 32, 32)
    for layer in ("backbone", "projection"):
        assert torch.equal(encoder(x, layer), again(x, layer))
        assert again(x, layer).shape == (2, again.dim(layer))


SMALL_CROPS = {"local_size": 16, "local_views": 1, "base_lr": 0.005}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method", "block"),
    [
        ("timm/resnet10t", "moco", {"bn_splits": 2}),
        ("timm/convnext_atto", "simclr", {"optimizer": "adamw", "base_lr": 0.005}),
        ("timm/vit_tiny_patch16_224", "dino", {"optimizer": "adamw", **SMALL_CROPS}),
        ("efficientnet_b0", "simclr", {}),  # torchvision's, with stochastic depth
    ],
)
def test_a_broken_training_ends_in_the_same_bits(tmp_path, monkeypatch, name, method, block):
    sizes = {"views.image_size": 32, "pretrain.backbone": name, "pretrain.stem": "imagenet"}
    write_project(tmp_path, **sizes, **{"pretrain.batch_size": 8})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / ".state"))
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    monkeypatch.setenv("SEPP_CHECKPOINT_SECONDS", "0")
    rows = instance_rows(np.arange(16))
    whole, history = train_tiny(method, 2, rows=rows, **block)
    step = Pretraining.training_step

    def breaks(self, batch, index):
        if (self.current_epoch, index) == (1, 1):
            raise RuntimeError("broken here")
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "training_step", breaks)
        with pytest.raises(RuntimeError, match="broken here"):
            train_tiny(method, 2, rows=rows, **block)
    assert list(tmp_path.glob(".state/*/*/last.ckpt"))
    resumed, again = train_tiny(method, 2, rows=rows, **block)
    assert again == history
    assert [row["epoch"] for row in history] == [1, 2]
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
