"""Batch norm over groups of a batch, and over all processes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stages.common.errors import SeppError
from stages.ssl.backbones import build_backbone
from stages.ssl.batch_norm import (
    SplitBatchNorm,
    SyncBatchNorm,
    split_batch_norms,
    sync_batch_norms,
)


def test_split_batch_norm_is_batch_norm_of_each_group():
    x = torch.randn(8, 4, 3, 3)
    split = SplitBatchNorm(4, splits=2)
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
        SplitBatchNorm(4, splits=3)(torch.randn(8, 4, 3, 3))


def test_batch_norms_are_split_and_others_left():
    model, _ = build_backbone("resnet10", "cifar")
    keys = set(model.state_dict())
    split_batch_norms(model, 1)
    assert type(model.bn1) is nn.BatchNorm2d
    split_batch_norms(model, 2)
    assert isinstance(model.bn1, SplitBatchNorm)
    assert set(model.state_dict()) == keys
    other, _ = build_backbone("convnext_tiny", "imagenet")
    split_batch_norms(other, 2)  # it has layer norms alone
    assert not any(isinstance(m, SplitBatchNorm) for m in other.modules())


def test_splits_must_split_over_the_processes(monkeypatch):
    monkeypatch.setattr("stages.ssl.batch_norm.world_size", lambda: 3)
    with pytest.raises(SeppError, match="bn_splits: 8 does not split over 3 processes"):
        SplitBatchNorm(4, splits=8)(torch.randn(8, 4, 3, 3))


def test_synchronising_keeps_state_and_frozen_parameters():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(16))
    model[1].running_mean.uniform_()
    model[3].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sync_batch_norms(model, torch.device("cpu"))
    assert [type(m) for m in (model[1], model[3])] == [SyncBatchNorm] * 2
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model[3].parameters()] == [False, True]


def test_synchronised_batch_norm_of_one_process_is_batch_norm():
    x = torch.randn(8, 4, 3, 3)
    ours, plain = SyncBatchNorm(4), nn.BatchNorm2d(4)
    torch.testing.assert_close(ours(x), plain(x))
    torch.testing.assert_close(ours.eval()(x), plain.eval()(x))
    torch.testing.assert_close(ours.running_var, plain.running_var)
