"""SimSiam against its formula, and where its gradient stops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from stages.ssl.methods.simsiam import SimSiam, negative_cosine
from tests.ssl import tiny
from tests.ssl.tiny import images, unit


def projections(model: SimSiam, view: torch.Tensor) -> np.ndarray:
    return tiny.embed(view, model.backbone, model.projection)


def predictions(model: SimSiam, view: torch.Tensor) -> np.ndarray:
    return tiny.embed(view, model.backbone, model.projection, model.prediction)


def test_the_loss_is_minus_the_cosine_of_each_row():
    p, z = np.random.default_rng(0).standard_normal((2, 5, 8))
    expected = [-a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(p, z, strict=True)]
    ours = negative_cosine(torch.from_numpy(p), torch.from_numpy(z))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_step_is_the_weighted_mean_of_both_directions():
    model = tiny.new("simsiam")
    first, second, weight = images(4, 1), images(4, 2), [1.0, 0.0, 0.25, 0.5]
    step = model.step(first, second, tiny.batch([0, 1, 2, 3], [0, 1, 8, 9], weight))
    z1, z2 = (projections(model, view) for view in (first, second))
    p1, p2 = (predictions(model, view) for view in (first, second))
    expected = -((p1 * z2).sum(1) + (p2 * z1).sum(1)) / 2
    assert step.loss.item() == pytest.approx(np.mean(expected * weight), rel=1e-4)
    embedding = unit(step.embedding.detach().double().numpy())
    np.testing.assert_allclose(embedding, z1, rtol=1e-4, atol=1e-6)


def test_targets_take_no_gradient():
    """The gradient is that of predicting constants."""
    model, other = tiny.new("simsiam"), tiny.new("simsiam")
    first, second = images(4, 1), images(4, 2)
    targets = [torch.from_numpy(projections(other, view)) for view in (second, first)]
    loss = 0.0
    for view, target in zip((first, second), targets, strict=True):
        prediction = other.prediction(other.projection(other.backbone(view)))
        loss = loss - (normalize(prediction) * target).sum(1).mean() / 2
    loss.backward()
    model.step(first, second, tiny.batch([0, 1, 2, 3])).loss.backward()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_the_predictors_rate_alone_is_constant(optimizer):
    model = tiny.new("simsiam", optimizer=optimizer)
    constant = {
        id(p): group.constant and group.rate == 1.0
        for group in model.groups()
        for p in group.parameters
    }
    assert all(constant[id(p)] for p in model.prediction.parameters())
    encoder = [*model.backbone.parameters(), *model.projection.parameters()]
    assert not any(constant[id(p)] for p in encoder)


@pytest.mark.parametrize("layers", [2, 3])
def test_every_projection_layer_has_batch_norm_and_the_output_has_no_scale(layers):
    """Chen & He 2021, section 3, baseline settings; the published code leaves out the scale."""
    head = tiny.new("simsiam", layers=layers).projection.layers
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(m) for m in head] == [*hidden * (layers - 1), nn.Linear, nn.BatchNorm1d]
    assert [m.affine for m in head if isinstance(m, nn.BatchNorm1d)] == [True] * (layers - 1) + [
        False
    ]
    assert {m.out_features for m in head if isinstance(m, nn.Linear)} == {16}


def test_the_predictor_is_a_bottleneck_whose_output_has_no_batch_norm():
    layers = tiny.new("simsiam", bottleneck_dim=4).prediction.layers
    assert [type(m) for m in layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [tuple(m.weight.shape) for m in (layers[0], layers[3])] == [(4, 16), (16, 4)]
