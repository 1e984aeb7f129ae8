"""BYOL against its formula, and its target network step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from stages.ssl.methods.byol import BYOL, squared_distance
from tests.ssl import tiny
from tests.ssl.tiny import images, move, trained, unit


def new(**changes) -> BYOL:
    """The online network has moved away from the target already."""
    model = tiny.new("byol", **changes)
    move(model)
    return model


def predictions(model: BYOL, view: torch.Tensor) -> np.ndarray:
    return tiny.embed(view, model.backbone, model.projection, model.prediction)


def targets(model: BYOL, view: torch.Tensor) -> np.ndarray:
    return tiny.embed(view, *model.target.average)


def plain_loss(model: BYOL, first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Grill et al. 2020, Eq. 2 and its mirror, added up: (B,), of the target as it is."""
    one = np.linalg.norm(predictions(model, first) - targets(model, second), axis=1) ** 2
    two = np.linalg.norm(predictions(model, second) - targets(model, first), axis=1) ** 2
    return one + two


def test_the_loss_is_the_squared_distance_of_unit_vectors():
    p, z = np.random.default_rng(0).standard_normal((2, 5, 8))
    ours = squared_distance(torch.from_numpy(p), torch.from_numpy(z))
    np.testing.assert_allclose(ours, np.linalg.norm(unit(p) - unit(z), axis=1) ** 2, rtol=1e-10)


def test_step_is_the_weighted_mean_of_the_sum_of_both_directions():
    model = new(momentum=1.0)
    first, second, weight = images(4, 1), images(4, 2), [1.0, 0.0, 0.25, 0.5]
    step = model.step(first, second, tiny.batch([0, 1, 2, 3], [0, 1, 8, 9], weight))
    expected = np.mean(plain_loss(model, first, second) * weight)
    assert step.loss.item() == pytest.approx(expected, rel=1e-4)
    embedding = unit(step.embedding.detach().double().numpy())
    here = tiny.embed(first, model.backbone, model.projection)
    np.testing.assert_allclose(embedding, here, rtol=1e-4, atol=1e-6)


def test_targets_take_no_gradient():
    """The gradient is that of predicting constants."""
    model, other = new(momentum=1.0), new(momentum=1.0)
    first, second = images(4, 1), images(4, 2)
    loss = 0.0
    for view, across in ((first, second), (second, first)):
        prediction = other.prediction(other.projection(other.backbone(view)))
        constant = torch.from_numpy(targets(other, across))
        loss = loss + (normalize(prediction) - constant).square().sum(1).mean()
    loss.backward()
    model.step(first, second, tiny.batch([0, 1, 2, 3])).loss.backward()
    for ours, theirs in zip(trained(model), trained(other), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)
    assert not any(p.requires_grad for p in model.target.parameters())


def test_the_target_starts_as_the_online_network_without_its_predictor():
    model = tiny.new("byol")
    online = [*model.backbone.parameters(), *model.projection.parameters()]
    for target, parameter in zip(model.target.parameters(), online, strict=True):
        assert torch.equal(target, parameter)
        assert target is not parameter


def test_the_target_follows_at_a_momentum_that_rises_to_one_by_a_cosine():
    """Section 3.2: 1 - (1 - base) (cos(pi k / K) + 1) / 2 at step k of K. The loss sees the target
    after its move."""
    model = new(momentum=0.6)
    expected = [p.clone() for p in model.target.parameters()]
    for step, momentum in enumerate([0.6, 0.7, 0.9, 1.0]):
        first, second = images(4, 10 * step), images(4, 10 * step + 1)
        batch = tiny.batch([0, 1, 2, 3], progress=step / 3)
        loss = model.step(first, second, batch).loss.item()
        online = [*model.backbone.parameters(), *model.projection.parameters()]
        for i, parameter in enumerate(online):
            expected[i] = momentum * expected[i] + (1 - momentum) * parameter.detach()
        torch.testing.assert_close([p.data for p in model.target.parameters()], expected)
        assert loss == pytest.approx(plain_loss(model, first, second).mean(), rel=1e-4)
        move(model)


def test_projection_and_predictor_have_one_hidden_layer_each():
    model = tiny.new("byol", hidden_dim=16, output_dim=8)
    for head, inputs in ((model.projection, 7), (model.prediction, 8)):
        kinds = [type(m) for m in head.layers]
        assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
        shapes = [tuple(m.weight.shape) for m in (head.layers[0], head.layers[3])]
        assert shapes == [(16, inputs), (8, 16)]
