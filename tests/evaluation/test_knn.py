from __future__ import annotations

import numpy as np
import pytest
import torch

from stages.evaluation._knn import knn_top1


def plain_knn(bank, bank_labels, queries, labels, k, t):
    """Wu et al. 2018, section 3.4, one query at a time in float64."""
    bank = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    right = 0
    for x, label in zip(queries, labels, strict=True):
        s = bank @ (x / np.linalg.norm(x))
        nearest = np.argsort(-s)[:k]
        votes = np.zeros(bank_labels.max() + 1)
        for i in nearest:
            votes[bank_labels[i]] += np.exp(s[i] / t)
        right += votes.argmax() == label
    return 100 * right / len(labels)


@pytest.mark.parametrize("k", [1, 5, 20, 1000])
def test_against_the_definition(k):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 6))
    bank_labels, labels = rng.integers(0, 4, 60), rng.integers(0, 4, 37)
    bank = centres[bank_labels] + rng.standard_normal((60, 6))
    queries = centres[labels] + rng.standard_normal((37, 6))
    ours = knn_top1(
        *(torch.from_numpy(a) for a in (bank, bank_labels, queries, labels)), k, 0.1, block=8
    )
    expected = plain_knn(bank, bank_labels, queries, labels, k, 0.1)
    assert 20 < expected < 100
    assert ours == pytest.approx(expected)
