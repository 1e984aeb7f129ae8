"""Logistic regression on features, by L-BFGS, and the choice of its regularisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

BLOCK = 1 << 14  # rows whose scores are in memory at a time
# Weight decays that are tried, as in SimCLR and BYOL, the strongest first.
STRENGTHS = np.logspace(5, -6, 45)
TOLERANCE = 1e-5  # of the gradient's largest component, at which L-BFGS stops


class Regression(NamedTuple):
    weights: np.ndarray  # (D + 1, classes), the last row the bias
    converged: bool  # else the search has stopped at its last iteration


def regress(
    x: Tensor, y: Tensor, classes: int, strength: float, start: np.ndarray, iterations: int
) -> Regression:
    """What minimises

        mean cross-entropy of softmax(x W + b) + strength / 2 * |W|^2

    Args:
        x: (N, D) float32 features, on the device that is to compute.
        y: (N,) int64 labels.
        start: (D + 1, classes) where the search begins.
        iterations: of L-BFGS, at most.
    """

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.from_numpy(flat.reshape(start.shape)).to(x.device, x.dtype)
        loss, gradient = 0.0, torch.zeros_like(weights)
        for rows, labels in zip(x.split(BLOCK), y.split(BLOCK), strict=True):
            scores = torch.addmm(weights[-1], rows, weights[:-1])  # (B, classes)
            logs = scores.log_softmax(1)
            loss -= float(logs.gather(1, labels[:, None]).cpu().double().sum())
            error = logs.exp_()
            error[torch.arange(len(labels), device=x.device), labels] -= 1
            gradient[:-1].addmm_(rows.T, error)
            gradient[-1] += error.sum(0)
        flat_gradient = gradient.cpu().double().numpy() / len(x)
        matrix = flat.reshape(start.shape)[:-1]
        flat_gradient[:-1] += strength * matrix
        loss = loss / len(x) + strength / 2 * float((matrix**2).sum())
        return loss, flat_gradient.ravel()

    options = {"maxiter": iterations, "gtol": TOLERANCE, "ftol": 1e-9}
    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return Regression(found.x.reshape(start.shape), found.status != 1)


def classify(x: Tensor, weights: np.ndarray) -> np.ndarray:
    """The class (N,) with the highest score of each row of `x` (N, D)."""
    w = torch.from_numpy(weights).to(x.device, x.dtype)
    return torch.cat(
        [torch.addmm(w[-1], rows, w[:-1]).argmax(1).cpu() for rows in x.split(BLOCK)]
    ).numpy()


def choose(
    x: Tensor,
    y: Tensor,
    held_x: Tensor,
    held_y: np.ndarray,
    classes: int,
    iterations: int,
    score: Callable[[np.ndarray, np.ndarray], float],
) -> tuple[float, Regression]:
    """The strength of STRENGTHS whose weights score best on what is held out, and they; of several
    the strongest. Each search begins where the one of the next stronger has ended."""
    found = Regression(np.zeros((x.shape[1] + 1, classes)), True)
    best = (-np.inf, 0.0, found)
    for strength in STRENGTHS:
        found = regress(x, y, classes, float(strength), found.weights, iterations)
        reached = score(classify(held_x, found.weights), held_y)
        if reached > best[0]:
            best = reached, float(strength), found
    return best[1], best[2]
