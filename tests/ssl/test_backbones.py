from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from stages.common.errors import SeppError
from stages.ssl.backbones import build_backbone, zero_last_norms
from stages.ssl.pretraining import new_method
from tests.conftest import load_preset
from tests.ssl.tiny import values


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


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_zeroed_last_norms_are_torchvisions(name):
    torch.manual_seed(0)
    ours, _ = build_backbone(name, "imagenet")
    zero_last_norms(ours)
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None, zero_init_residual=True)
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key]), key


def test_zeroed_blocks_are_their_shortcuts():
    model, _ = build_backbone("resnet10", "cifar")
    zero_last_norms(model)
    block, x = model.layer2[0], torch.rand(4, 64, 8, 8)
    torch.testing.assert_close(block(x), block.downsample(x).relu())
    zeros = [n for n, p in model.named_parameters() if p.ndim == 1 and "bn" in n and not p.any()]
    assert [n for n in zeros if n.endswith("weight")] == [
        f"layer{i}.0.bn2.weight" for i in range(1, 5)
    ]


def test_what_is_no_resnet_is_left_as_it_is():
    model, _ = build_backbone("mobilenet_v3_small", "imagenet")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    zero_last_norms(model)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("method", "zero"),
    [
        *((name, True) for name in ("simclr", "simsiam", "byol", "vicreg", "barlow_twins", "fnc")),
        *((name, False) for name in ("moco", "swav", "dino", "nnclr")),
    ],
)
def test_a_method_zeroes_them_where_its_authors_do(method, zero):
    settings = load_preset("digits")
    training = settings.pretrain.model_copy(update={"method": method})
    model = new_method(training, values(method), settings.views, seed=0)
    assert model.backbone.layer4[0].bn2.weight.any() != zero
    followers = [m for name, m in model.named_modules() if name.endswith("average.0")]
    assert all(f.layer4[0].bn2.weight.any() != zero for f in followers)


def test_a_width_is_that_of_the_first_stage():
    wide, narrow = (build_backbone(f"resnet10-w{width}", "cifar")[0] for width in (64, 16))
    usual = build_backbone("resnet10", "cifar")[0]
    shapes = {k: v.shape for k, v in usual.state_dict().items()}
    assert {k: v.shape for k, v in wide.state_dict().items()} == shapes
    for key, value in narrow.state_dict().items():
        expected = [size if size in (1, 3) else size // 4 for size in shapes[key]]
        assert list(value.shape) == expected, key
    assert build_backbone("resnet50-w16", "imagenet")[1] == 512


@pytest.mark.parametrize("name", ["resnet10-w12", "resnet10-w0"])
def test_an_odd_width_is_refused(name):
    with pytest.raises(SeppError, match=f"{name}.*a width is a multiple of 8, e.g. resnet10-w32"):
        build_backbone(name, "cifar")
