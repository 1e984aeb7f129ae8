"""VICReg against its formulas, plain and with numpy's weighted statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stages.ssl.methods.vicreg import vicreg
from tests.ssl import tiny
from tests.ssl.tiny import images

WEIGHTS = [1.0, 0.25, 0.0, 0.5, 1.0, 2.0, 1.0]
TERMS = pytest.mark.parametrize(
    "coefficients", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (25.0, 25.0, 1.0)]
)


def embeddings() -> np.ndarray:
    """(2 views, 7 rows, 5): correlated, with deviations on both sides of 1."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 7, 5)) @ rng.standard_normal((5, 5)) * [0.2, 0.4, 0.6, 1, 2]


def plain_loss(z1: np.ndarray, z2: np.ndarray, coefficients: tuple[float, ...]) -> float:
    """Bardes et al. 2022, Eq. 1 to 6, but half of the variance term, as in their code."""
    rows, dim = z1.shape
    invariance = sum((z1[i, d] - z2[i, d]) ** 2 for i in range(rows) for d in range(dim))
    variance = covariance = 0.0
    for z in (z1, z2):
        cov = np.zeros((dim, dim))
        for i in range(rows):
            cov += np.outer(z[i] - z.mean(0), z[i] - z.mean(0)) / (rows - 1)
        for a in range(dim):
            variance += max(0, 1 - np.sqrt(cov[a, a] + 1e-4)) / dim / 2
            covariance += sum(cov[a, b] ** 2 for b in range(dim) if b != a) / dim
    return np.dot(coefficients, [invariance / rows / dim, variance, covariance])


def weighted_loss(
    z1: torch.Tensor, z2: torch.Tensor, weight: torch.Tensor, coefficients: tuple[float, ...]
) -> torch.Tensor:
    """The same with weighted means and covariances, which are numpy's, times the mean weight."""
    invariance = (weight @ (z1 - z2).square() / weight.sum()).mean()
    variance = covariance = 0.0
    for z in (z1, z2):
        cov = torch.cov(z.T, aweights=weight)
        variance = variance + (1 - (cov.diagonal() + 1e-4).sqrt()).clamp(min=0).mean() / 2
        covariance = covariance + (cov - cov.diagonal().diag()).square().sum() / len(cov)
    terms = zip(coefficients, (invariance, variance, covariance), strict=True)
    return weight.mean() * sum(coefficient * term for coefficient, term in terms)


def ours(views: np.ndarray, weight, coefficients: tuple[float, ...]) -> float:
    weight = torch.as_tensor(weight, dtype=torch.float64)
    return vicreg(*torch.from_numpy(views), weight, coefficients).item()


@TERMS
def test_instance_rows_have_the_papers_loss(coefficients):
    views = embeddings()
    expected = plain_loss(*views, coefficients)
    assert ours(views, np.ones(7), coefficients) == pytest.approx(expected, rel=1e-10)


@TERMS
def test_weights_are_those_of_weighted_statistics(coefficients):
    views, weight = embeddings(), torch.tensor(WEIGHTS, dtype=torch.float64)
    expected = weighted_loss(*torch.from_numpy(views), weight, coefficients).item()
    assert ours(views, WEIGHTS, coefficients) == pytest.approx(expected, rel=1e-10)


def test_a_row_of_weight_zero_is_not_there():
    """The loss as a whole is times the mean weight, which counts all rows."""
    views, coefficients = embeddings(), (25.0, 25.0, 1.0)
    without = ours(views[:, :5], np.ones(5), coefficients)
    assert ours(views, [1.0] * 5 + [0.0] * 2, coefficients) == pytest.approx(without * 5 / 7)


def test_equal_weights_multiply_the_loss():
    views, coefficients = embeddings(), (25.0, 25.0, 1.0)
    whole = ours(views, np.ones(7), coefficients)
    assert ours(views, np.full(7, 0.5), coefficients) == pytest.approx(whole / 2)


def test_a_collapsed_dimension_has_a_finite_gradient():
    """The deviation of a constant is 0.01, the root of the epsilon."""
    constant = torch.full((6, 3), 2.0, dtype=torch.float64, requires_grad=True)
    loss = vicreg(constant, constant, torch.ones(6).double(), (0.0, 1.0, 0.0))
    loss.backward()
    assert loss.item() == pytest.approx(0.99)
    assert constant.grad.isfinite().all()


@pytest.mark.parametrize("weight", [[1.0] * 7, WEIGHTS])
def test_step_has_the_loss_and_the_gradient_of_both_views(weight):
    settings = {"invariance": 3.0, "variance": 5.0, "covariance": 2.0}
    model, other = tiny.new("vicreg", **settings), tiny.new("vicreg")
    first, second = images(7, 1), images(7, 2)
    z1, z2 = (other.projection(other.backbone(view)).double() for view in (first, second))
    expected = weighted_loss(z1, z2, torch.tensor(weight).double(), (3.0, 5.0, 2.0))
    expected.backward()
    step = model.step(first, second, tiny.batch(list(range(7)), [7, 1, 2, 9, 4, 5, 6], weight))
    step.loss.backward()
    assert step.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(step.embedding.double(), z1)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_expander_is_of_one_width(layers):
    head = tiny.new("vicreg", layers=layers).projection.layers
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(m) for m in head] == [*hidden * (layers - 1), nn.Linear]
    assert {m.out_features for m in head if isinstance(m, nn.Linear)} == {16}
