"""What is trained, at which rate, and how LARS and the schedule step."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from stages.ssl.methods import Group, MethodParams, find_method
from stages.ssl.momentum import MomentumEncoder
from stages.ssl.optimizer import build_optimizer, warmup_cosine
from tests.ssl import tiny
from tests.ssl.tiny import METHODS, common_views, images, trained

SETTINGS = {"base_lr": 0.2, "weight_decay": 0.01, "sgd_momentum": 0.9}


def parameter(*shape: int) -> nn.Parameter:
    """With a gradient."""
    made = nn.Parameter(torch.randn(shape))
    made.grad = torch.randn(shape)
    return made


def stepped_by(*groups: Group, batch_size: int = 256, steps: int = 10, **changes) -> tuple:
    """Optimiser and schedule of a method with these groups; five steps are an epoch."""
    params = MethodParams(**{**SETTINGS, **changes})
    method = SimpleNamespace(params=params, groups=lambda: [*groups])
    return build_optimizer(method, batch_size, steps, epochs=steps // 5)


def rates(optimizer, schedule, steps: int) -> np.ndarray:
    """(steps, groups), the learning rate that each step is taken with."""
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return np.array(seen)


def test_the_rate_rises_by_equal_steps_and_falls_to_zero_by_half_a_cosine():
    share = warmup_cosine(4, 12)
    np.testing.assert_allclose([share(step) for step in range(5)], [0.25, 0.5, 0.75, 1.0, 1.0])
    half = np.sqrt(0.5)
    expected = [(1 + half) / 2, 0.5, (1 - half) / 2, 0.0]
    np.testing.assert_allclose([share(step) for step in (6, 8, 10, 12)], expected, atol=1e-12)


def test_without_warm_up_the_first_step_is_taken_at_the_peak():
    share = warmup_cosine(0, 10)
    np.testing.assert_allclose([share(0), share(5), share(10)], [1.0, 0.5, 0.0], atol=1e-12)


@pytest.mark.parametrize("warmup", [10, 40])
def test_a_training_may_be_no_longer_than_its_warm_up(warmup):
    share = warmup_cosine(warmup, 10)
    np.testing.assert_allclose([share(step) for step in range(10)], np.arange(1, 11) / warmup)
    assert share(10) <= 1.0


def test_the_optimiser_follows_the_schedule_and_the_warm_up_is_in_epochs():
    made = stepped_by(Group([parameter(2, 2)]), steps=15, warmup_epochs=2)
    share = warmup_cosine(10, 15)
    np.testing.assert_allclose(rates(*made, 15)[:, 0], [0.2 * share(step) for step in range(15)])


@pytest.mark.parametrize("kind", ["sgd", "lars", "adamw"])
def test_the_rate_is_proportional_to_batch_size_and_to_the_groups_own(kind):
    groups = Group([parameter(2, 2)]), Group([parameter(2)], rate=0.5)
    optimizer, _ = stepped_by(*groups, batch_size=64, optimizer=kind)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.05, 0.025])


def test_the_rate_may_go_by_the_root_of_the_batch_size():
    optimizer, _ = stepped_by(
        Group([parameter(2, 2)]), batch_size=64, base_lr=0.1, rate_scaling="sqrt"
    )
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 8)


def test_fncs_rate_is_its_authors():
    """google-research/fnc: learning_rate 0.1, learning_rate_scaling sqrt, batch 4096."""
    params = find_method("fnc").Params()
    assert [params.peak_rate(size) for size in (256, 4096)] == pytest.approx([1.6, 6.4])


def test_a_constant_group_keeps_its_rate_whatever_groups_are_empty():
    groups = Group([]), Group([parameter(3)], rate=2.0, constant=True), Group([parameter(2)])
    seen = rates(*stepped_by(*groups, warmup_epochs=1), 10)
    np.testing.assert_allclose(seen[:, 0], 0.4)
    np.testing.assert_allclose(seen[:, 1], [0.2 * warmup_cosine(5, 10)(i) for i in range(10)])


def test_sgd_decays_weights_unless_the_group_is_spared():
    decayed, spared = parameter(3, 2), parameter(3)
    before = [p.detach().clone() for p in (decayed, spared)]
    optimizer, _ = stepped_by(Group([decayed]), Group([spared], decay=False))
    optimizer.step()
    torch.testing.assert_close(decayed.data, before[0] - 0.2 * (decayed.grad + 0.01 * before[0]))
    torch.testing.assert_close(spared.data, before[1] - 0.2 * spared.grad)


def test_lars_adapts_the_rate_of_matrices_and_spares_vectors():
    """You et al. 2017, Eq. 6 with a trust coefficient of 0.001; a vector's step is SGD's."""
    matrix, vector = parameter(3, 2), parameter(3)
    before = [p.detach().clone() for p in (matrix, vector)]
    optimizer, _ = stepped_by(Group([matrix]), Group([vector], decay=False), optimizer="lars")
    optimizer.step()
    weight, gradient = before[0].norm(), matrix.grad.norm()
    local = 0.001 * weight / (gradient + 0.01 * weight)
    update = 0.2 * local * (matrix.grad + 0.01 * before[0])
    torch.testing.assert_close(matrix.data, before[0] - update)
    torch.testing.assert_close(vector.data, before[1] - 0.2 * vector.grad)


@pytest.mark.parametrize("kind", ["sgd", "lars"])
def test_momentum_adds_up_earlier_gradients(kind):
    vector = parameter(3)
    before = vector.detach().clone()
    optimizer, _ = stepped_by(Group([vector], decay=False), optimizer=kind, sgd_momentum=0.75)
    optimizer.step()
    optimizer.step()
    torch.testing.assert_close(vector.data, before - 0.2 * (1 + 1.75) * vector.grad)


@pytest.mark.parametrize("kind", ["sgd", "lars", "adamw"])
@pytest.mark.parametrize("name", METHODS)
def test_every_trained_parameter_is_in_one_group_and_no_momentum_encoders_is(name, kind):
    model = tiny.new(name, optimizer=kind)
    grouped = [id(p) for group in model.groups() for p in group.parameters]
    averages = [m for m in model.modules() if isinstance(m, MomentumEncoder)]
    followed = {id(p) for p in chain(*(module.parameters() for module in averages))}
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in trained(model)} - followed
    rest = {name for name, p in model.named_parameters() if id(p) not in {*grouped, *followed}}
    assert rest <= {"projection.layers.4.bias", "projection.layers.7.bias"}  # zero for good


@pytest.mark.parametrize("kind", ["lars", "adamw"])
@pytest.mark.parametrize("name", METHODS)
def test_just_the_vectors_of_every_method_are_spared(name, kind):
    for group in tiny.new(name, optimizer=kind).groups():
        assert {p.ndim >= 2 for p in group.parameters} == {group.decay}


def test_adamw_steps_by_the_rate_and_decays_apart_from_the_gradient():
    """Loshchilov and Hutter 2019, Algorithm 2, of which the first step is as long as the rate."""
    decayed, spared = parameter(3, 2), parameter(3)
    before = [p.detach().clone() for p in (decayed, spared)]
    groups = Group([decayed]), Group([spared], decay=False)
    optimizer, _ = stepped_by(*groups, optimizer="adamw", base_lr=0.001)
    optimizer.step()
    expected = before[0] - 0.001 * (decayed.grad.sign() + 0.01 * before[0])
    torch.testing.assert_close(decayed.data, expected)
    torch.testing.assert_close(spared.data, before[1] - 0.001 * spared.grad.sign())


def test_sgd_spares_nothing_by_default():
    assert [group.decay for group in tiny.new("simclr").groups()] == [True]


def test_lars_without_weight_decay_is_refused():
    """It would take every layer for one that is to be spared."""
    with pytest.raises(ValueError, match=r"weight_decay 0.0 leaves every layer out of LARS"):
        MethodParams(base_lr=0.1, weight_decay=0.0, optimizer="lars")
    MethodParams(base_lr=0.1, weight_decay=0.0, optimizer="sgd")


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_in_a_group_gets_a_gradient(name):
    """Distributed training waits for all of them."""
    model = tiny.new(name)
    views = [images(4, seed) for seed in range(len(model.row_views(common_views())))]
    model.step(*views[:2], tiny.batch([0, 1, 2, 3], extra=views[2:])).loss.backward()
    assert all(p.grad is not None for group in model.groups() for p in group.parameters)
