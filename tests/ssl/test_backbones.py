from __future__ import annotations

import pytest
import torch
from torch import nn

from stages.common.errors import SeppError
from stages.ssl.backbones import build_backbone


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


@pytest.mark.parametrize("name", ["squeezenet1_0", "googlenet", "inception_v3"])
def test_backbones_of_another_build_are_unknown(name):
    with pytest.raises(SeppError, match=f"unknown backbone '{name}'"):
        build_backbone(name, "imagenet")
