from __future__ import annotations

import pytest
import torch
from torch import nn

from stages.common.errors import SeppError
from stages.ssl.backbones import SplitBatchNorm2d, build_backbone, split_batch_norms


@pytest.mark.parametrize(
    ("name", "stem", "dim", "size"),
    [
        ("resnet10", "cifar", 512, 8),
        ("resnet18", "imagenet", 512, 64),
        ("mobilenet_v3_small", "imagenet", 1024, 64),
    ],
)
def test_features_have_the_dimension_that_is_told(name, stem, dim, size):
    model, feature_dim = build_backbone(name, stem)
    assert feature_dim == dim
    assert model.eval()(torch.rand(2, 3, size, size)).shape == (2, dim)


def test_resnet10_has_ten_weight_layers_with_a_classifier():
    model, _ = build_backbone("resnet10", "imagenet")
    main_path = [
        n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and "downsample" not in n
    ]
    assert len(main_path) + 1 == 10


def test_cifar_stem_keeps_the_resolution():
    model, _ = build_backbone("resnet18", "cifar")
    assert model.conv1.stride == (1, 1)
    assert model.conv1.kernel_size == (3, 3)
    assert isinstance(model.maxpool, nn.Identity)


@pytest.mark.parametrize(
    ("name", "stem", "message"),
    [
        ("resnet19", "cifar", "unknown backbone 'resnet19'; near it are"),
        ("vgg11", "cifar", "stem: cifar is for ResNets"),
    ],
)
def test_what_cannot_be_built_is_named(name, stem, message):
    with pytest.raises(SeppError, match=message):
        build_backbone(name, stem)


def test_split_batch_norm_is_batch_norm_of_each_group():
    x = torch.randn(8, 4, 3, 3)
    split = SplitBatchNorm2d(4, splits=2)
    nn.init.uniform_(split.weight)
    plain = [nn.BatchNorm2d(4) for _ in range(2)]
    for norm in plain:
        norm.load_state_dict(split.state_dict())
    y = split(x)
    for ours, group, norm in zip(y.chunk(2), x.chunk(2), plain, strict=True):
        torch.testing.assert_close(ours, norm(group))
    mean = (plain[0].running_mean + plain[1].running_mean) / 2
    torch.testing.assert_close(split.running_mean, mean)
    # In evaluation it is the ordinary layer of the same state dict.
    ordinary = nn.BatchNorm2d(4)
    ordinary.load_state_dict(split.state_dict())
    torch.testing.assert_close(split.eval()(x), ordinary.eval()(x))


def test_splits_must_divide_the_batch():
    with pytest.raises(SeppError, match="bn_splits: 3 does not divide the 8 rows"):
        SplitBatchNorm2d(4, splits=3)(torch.randn(8, 4, 3, 3))


def test_batch_norms_are_split_and_others_left():
    model, _ = build_backbone("resnet10", "cifar")
    keys = set(model.state_dict())
    split_batch_norms(model, 1)
    assert type(model.bn1) is nn.BatchNorm2d
    split_batch_norms(model, 2)
    assert isinstance(model.bn1, SplitBatchNorm2d)
    assert set(model.state_dict()) == keys
    other, _ = build_backbone("convnext_tiny", "imagenet")
    split_batch_norms(other, 2)  # it has layer norms alone
    assert not any(isinstance(m, SplitBatchNorm2d) for m in other.modules())


def test_splits_must_split_over_the_processes(monkeypatch):
    monkeypatch.setattr("stages.ssl.backbones.world_size", lambda: 3)
    with pytest.raises(SeppError, match="bn_splits: 8 does not split over 3 processes"):
        SplitBatchNorm2d(4, splits=8)(torch.randn(8, 4, 3, 3))


@pytest.mark.parametrize("name", ["squeezenet1_0", "googlenet", "inception_v3"])
def test_backbones_of_another_build_are_unknown(name):
    with pytest.raises(SeppError, match=f"unknown backbone '{name}'"):
        build_backbone(name, "imagenet")
