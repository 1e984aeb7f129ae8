"""Logistic regression against scikit-learn's, and the choice of its penalty against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from stages.evaluation import _logistic
from stages.evaluation._logistic import STRENGTHS, choose, classify, regress

CLASSES, DIM = 4, 6


def made(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) about a centre for each class, with much noise, and labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % CLASSES
    centres = np.random.default_rng(9).standard_normal((CLASSES, DIM))
    x = centres[labels] + 1.5 * rng.standard_normal((rows, DIM)) + 3.0
    return x.astype(np.float32), labels


def reference(x: np.ndarray, y: np.ndarray, strength: float) -> LogisticRegression:
    """scikit-learn minimises C * (sum of cross-entropies) + |W|^2 / 2."""
    model = LogisticRegression(C=1 / (strength * len(x)), max_iter=2000, tol=1e-8)
    return model.fit(x.astype(np.float64), y)


def start() -> np.ndarray:
    return np.zeros((DIM + 1, CLASSES))


def objective(x: np.ndarray, y: np.ndarray, weights: np.ndarray, strength: float) -> float:
    """The formula in `regress`, in float64."""
    scores = x.astype(np.float64) @ weights[:-1] + weights[-1]
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    return -logs[np.arange(len(y)), y].mean() + strength / 2 * (weights[:-1] ** 2).sum()


@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
def test_weights_are_scikit_learns(strength, monkeypatch):
    monkeypatch.setattr(_logistic, "BLOCK", 64)  # several, of which the last is not whole
    x, y = made(200)
    found = regress(torch.from_numpy(x), torch.from_numpy(y), CLASSES, strength, start(), 1000)
    weights, converged = found
    assert converged
    expected = reference(x, y, strength)
    # What is minimised, in float64; along its flat directions weights may lie a little apart.
    theirs = np.vstack([expected.coef_.T, expected.intercept_])
    least = objective(x, y, theirs, strength)
    assert objective(x, y, weights, strength) == pytest.approx(least, rel=1e-5, abs=1e-7)
    np.testing.assert_allclose(weights[:-1], theirs[:-1], atol=5e-3)
    assert (classify(torch.from_numpy(x), weights) == expected.predict(x)).mean() > 0.99


def test_the_choice_is_that_of_brute_force(monkeypatch):
    strengths = STRENGTHS[8:29:5]
    monkeypatch.setattr(_logistic, "STRENGTHS", strengths)
    (x, y), (held, truth) = made(60), made(400, seed=1)
    fits = [reference(x, y, strength) for strength in strengths]
    scores = [float((fit.predict(held) == truth).mean()) for fit in fits]
    strength, (weights, converged) = choose(
        *(torch.from_numpy(a) for a in (x, y, held)),
        *(truth, CLASSES, 1000, lambda guesses, labels: float((guesses == labels).mean())),
    )
    chosen = scores[strengths.tolist().index(strength)]
    assert chosen >= max(scores) - 1 / 400  # float32 may turn a guess that is a toss-up
    assert chosen > max(scores[0], scores[-1]) + 0.01  # neither the strongest nor the weakest
    again = regress(torch.from_numpy(x), torch.from_numpy(y), CLASSES, strength, weights, 1000)
    np.testing.assert_allclose(again.weights, weights, atol=1e-3)
    assert converged


def test_of_equals_the_strongest_is_chosen():
    x, y = (torch.from_numpy(a) for a in made(40))
    strength, _ = choose(x, y, x, y.numpy(), CLASSES, 5, lambda guesses, labels: 1.0)
    assert strength == 1e5


def test_a_search_that_was_stopped_says_so():
    x, y = (torch.from_numpy(a) for a in made(200))
    assert not regress(x, y, CLASSES, 1e-4, start(), 3).converged


def test_there_are_the_papers_45():
    assert len(STRENGTHS) == 45
    assert (STRENGTHS[0], STRENGTHS[-1]) == pytest.approx((1e5, 1e-6))
