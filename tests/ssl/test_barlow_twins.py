"""Barlow Twins against its formula, entry by entry of the cross-correlation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm

from stages.ssl.methods.barlow_twins import barlow_twins
from tests.ssl import tiny
from tests.ssl.tiny import images

WEIGHTS = [1.0, 0.25, 0.0, 0.5, 1.0, 2.0, 1.0]


def embeddings() -> np.ndarray:
    """(2 views, 7 rows, 5): correlated, and so small in one dimension that epsilon counts."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((7, 5))
    views = (common + rng.standard_normal((2, 7, 5))) @ rng.standard_normal((5, 5))
    return 3 + views * [0.001, 0.5, 1, 2, 4]


def plain_loss(z1: np.ndarray, z2: np.ndarray, weight: np.ndarray, redundancy: float) -> float:
    """Zbontar et al. 2021, Eq. 1 and 2, as their code standardises: by the biased variance, with
    an epsilon of 1e-5. Means are weighted, and the whole is times the mean weight."""
    dim, loss = z1.shape[1], 0.0
    deviations = [z - np.average(z, axis=0, weights=weight) for z in (z1, z2)]
    variances = [np.average(d**2, axis=0, weights=weight) for d in deviations]
    for a in range(dim):
        for b in range(dim):
            product = np.average(deviations[0][:, a] * deviations[1][:, b], weights=weight)
            correlation = product / np.sqrt((variances[0][a] + 1e-5) * (variances[1][b] + 1e-5))
            loss += (1 - correlation) ** 2 if a == b else redundancy * correlation**2
    return loss * np.mean(weight)


def ours(views: np.ndarray, weight, redundancy: float = 0.01) -> float:
    weight = torch.as_tensor(weight, dtype=torch.float64)
    return barlow_twins(*torch.from_numpy(views), weight, redundancy).item()


@pytest.mark.parametrize("redundancy", [0.0, 0.0051, 1.0])
@pytest.mark.parametrize("weight", [[1.0] * 7, WEIGHTS])
def test_the_loss_is_the_papers_with_weighted_statistics(weight, redundancy):
    views = embeddings()
    expected = plain_loss(*views, weight, redundancy)
    assert ours(views, weight, redundancy) == pytest.approx(expected, rel=1e-10)


def test_a_row_of_weight_zero_is_not_there():
    """The loss as a whole is times the mean weight, which counts all rows."""
    views = embeddings()
    without = ours(views[:, :5], np.ones(5))
    assert ours(views, [1.0] * 5 + [0.0] * 2) == pytest.approx(without * 5 / 7)


def test_a_row_of_weight_two_is_a_row_that_occurs_twice():
    views, weight = embeddings(), np.array([1, 3, 2, 1, 1, 0, 1])
    repeated = ours(views.repeat(weight, axis=1), np.ones(9))
    assert ours(views, weight) == pytest.approx(repeated * 9 / 7)


def test_equal_weights_multiply_the_loss():
    views = embeddings()
    assert ours(views, np.full(7, 0.5)) == pytest.approx(ours(views, np.ones(7)) / 2)


def test_a_collapsed_dimension_is_correlated_with_nothing():
    constant = torch.full((6, 3), 2.0, dtype=torch.float64, requires_grad=True)
    loss = barlow_twins(constant, constant, torch.ones(6).double(), 0.01)
    loss.backward()
    assert loss.item() == pytest.approx(3.0)
    assert constant.grad.isfinite().all()


def test_step_has_the_loss_and_the_gradient_of_both_views():
    model, other = tiny.new("barlow_twins", redundancy=0.1), tiny.new("barlow_twins")
    first, second = images(6, 1), images(6, 2)
    z1, z2 = (other.projection(other.backbone(view)).double() for view in (first, second))
    one, two = (batch_norm(z, None, None, training=True, eps=1e-5) for z in (z1, z2))
    correlation = one.T @ two / 6
    itself = torch.eye(16, dtype=torch.bool)
    expected = (correlation[itself] - 1).square().sum() + 0.1 * correlation[~itself].square().sum()
    expected.backward()
    step = model.step(first, second, tiny.batch([0, 1, 2, 3, 4, 5]))
    step.loss.backward()
    assert step.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(step.embedding.double(), z1)


@torch.no_grad()
def test_step_weighs_the_rows():
    model = tiny.new("barlow_twins", redundancy=0.1)
    first, second = images(7, 1), images(7, 2)
    z1, z2 = (model.projection(model.backbone(view)).double() for view in (first, second))
    batch = tiny.batch(list(range(7)), [7, 1, 2, 9, 4, 5, 6], WEIGHTS)
    loss = model.step(first, second, batch).loss.item()
    assert loss == pytest.approx(plain_loss(z1.numpy(), z2.numpy(), WEIGHTS, 0.1), rel=1e-5)


def test_lars_steps_vectors_at_their_own_rate():
    groups = tiny.new("barlow_twins", optimizer="lars", vector_rate=0.3).groups()
    rates = {p.ndim: (g.rate, g.decay, g.constant) for g in groups for p in g.parameters}
    assert rates == {2: (1.0, True, False), 1: (0.3, False, False)}


def test_sgd_steps_all_at_one_rate():
    groups = tiny.new("barlow_twins", optimizer="sgd", vector_rate=0.3).groups()
    assert {(g.rate, g.decay, g.constant) for g in groups} == {(1.0, True, False)}


@pytest.mark.parametrize("layers", [2, 3])
def test_the_projection_is_of_one_width(layers):
    head = tiny.new("barlow_twins", layers=layers).projection.layers
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(m) for m in head] == [*hidden * (layers - 1), nn.Linear]
    assert {m.out_features for m in head if isinstance(m, nn.Linear)} == {16}
