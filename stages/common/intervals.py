"""How sure an accuracy of pairs is."""

from __future__ import annotations

import math

import numpy as np

Z = 1.959964  # two-sided 95 %


def wilson(right: float, trials: float) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of a share `right` / `trials`, trials > 0."""
    share, z2 = right / trials, Z * Z / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = Z * math.sqrt(share * (1 - share) / trials + z2 / trials / 4) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def accuracy_interval(right: float, pairs: float, degrees: np.ndarray) -> tuple[float, float]:
    """95 % interval of the accuracy of `pairs` pairs, `right` of them right.

    Pairs that share an image are not independent: a hundred pairs of one odd image are one mistake.
    With `degrees` (N,), how many of the pairs each image is in, they count as
    2 pairs^2 / sum(degrees^2) trials: all of them where no two share an image, two for a star.
    """
    of = trials(pairs, float(np.square(degrees, dtype=np.float64).sum()))
    return wilson(right / pairs * of, of)


def trials(pairs: float, squares: float) -> float:
    """How many independent pairs so many count as; `squares` is the sum over images of the squared
    number of pairs that each is in."""
    return min(pairs, 2 * pairs**2 / squares) if squares else pairs


def chance_accuracy(labels: np.ndarray) -> float | None:
    """Accuracy of random pairs: the sum of squared class shares of `labels` (K,), -1 = none. (With
    few images of a class a little more than of pairs of two different images.)"""
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    if not len(counts):
        return None
    return float(np.square(counts / counts.sum()).sum())
