"""Losses under autocast, and InfoNCE with negatives left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from stages.ssl.losses import in_float32, info_nce
from stages.ssl.methods.barlow_twins import barlow_twins
from stages.ssl.methods.byol import squared_distance
from stages.ssl.methods.dino import distillation
from stages.ssl.methods.fnc import multi_positive_nce, support_scores
from stages.ssl.methods.nnclr import neighbour_nce
from stages.ssl.methods.simclr import nt_xent
from stages.ssl.methods.simsiam import negative_cosine
from stages.ssl.methods.swav import swapped_prediction
from stages.ssl.methods.vicreg import vicreg
from tests.ssl.tiny import unit


def rows(count: int, seed: int) -> torch.Tensor:
    """(count, 8), unit rows whose numbers bf16 does not hold exactly."""
    drawn = np.random.default_rng(seed).standard_normal((count, 8))
    return torch.from_numpy(unit(drawn)).float()


ONE, TWO, MANY = rows(5, seed=1), rows(5, seed=2), rows(7, seed=3)
OWN = torch.eye(5, 7, dtype=torch.bool)
LOSSES = {  # those of the methods, and what they are called with
    "info_nce": (info_nce, (ONE, TWO, MANY, 0.1)),
    "nt_xent": (nt_xent, (ONE, TWO, 0.1)),
    "negative_cosine": (negative_cosine, (ONE, TWO)),
    "squared_distance": (squared_distance, (ONE, TWO)),
    "vicreg": (vicreg, (ONE, TWO, torch.ones(5), (25.0, 25.0, 1.0))),
    "barlow_twins": (barlow_twins, (ONE, TWO, torch.ones(5), 0.005)),
    "swapped_prediction": (swapped_prediction, ([ONE, TWO], [TWO.softmax(1), ONE.softmax(1)], 0.1)),
    "distillation": (distillation, ([ONE, TWO], [TWO, ONE], MANY[0], (0.1, 0.04))),
    "neighbour_nce": (neighbour_nce, (ONE, TWO, 0.1)),
    "support_scores": (support_scores, (torch.stack([ONE, TWO]), MANY)),
    "multi_positive_nce": (multi_positive_nce, (ONE, MANY, OWN, OWN.roll(1, dims=1), 0.1)),
}


def cast(value, dtype: torch.dtype):
    """With every tensor of floats in it as this type."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    return type(value)(cast(v, dtype) for v in value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_leaves_a_loss_alone(name):
    loss, arguments = LOSSES[name]
    alone = loss(*arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(*arguments), alone)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_loss_of_short_floats_is_that_of_the_same_numbers_in_float32(name, dtype):
    loss, arguments = LOSSES[name]
    short = cast(arguments, dtype)
    expected = loss(*cast(short, torch.float32))
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(*short), expected)


def test_longer_floats_named_arguments_and_gradients_pass_through():
    @in_float32
    def double(value: torch.Tensor, others: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        return 2 * (others[0] if others else value)

    short = torch.full((), 3.0, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert double(torch.ones((), dtype=torch.float64)).dtype == torch.float64
        result = double(torch.ones(()), others=[short])
    assert result.dtype == torch.float32
    result.backward()
    assert short.grad.item() == 2.0


def test_excluded_negatives_leave_the_denominator_of_info_nce():
    query, key, negatives = (x.double().numpy() for x in (ONE, TWO, MANY))
    excluded = np.random.default_rng(0).random((5, 7)) < 0.4
    excluded[0], excluded[1] = True, False
    expected = []
    for q, k, hidden in zip(query, key, excluded, strict=True):
        own = np.exp(q @ k / 0.2)
        others = sum(np.exp(q @ n / 0.2) for n in negatives[~hidden])
        expected.append(-np.log(own / (own + others)))
    ours = info_nce(
        *map(torch.from_numpy, (query, key, negatives)), 0.2, torch.from_numpy(excluded)
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


def test_excluded_negatives_take_no_gradient():
    negatives = MANY.clone().requires_grad_()
    excluded = torch.zeros(5, 7, dtype=torch.bool)
    excluded[:, 2] = True
    info_nce(ONE, TWO, negatives, 0.2, excluded).sum().backward()
    assert negatives.grad.isfinite().all()
    assert negatives.grad.any(dim=1).tolist() == [True, True, False, True, True, True, True]
