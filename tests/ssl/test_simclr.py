"""SimCLR against NT-Xent written out view by view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from stages.ssl import distributed
from stages.ssl.methods.simclr import nt_xent
from stages.ssl.partners import Partners
from tests.ssl import tiny
from tests.ssl.tiny import images, unit


def plain_loss(
    first: np.ndarray, second: np.ndarray, t: float, excluded: np.ndarray | None = None
) -> np.ndarray:
    """Chen et al. 2020a, Eq. 1, for each of the 2N views: mean of a row's two, (N,)."""
    views = np.concatenate([first, second])
    rows, losses = len(first), []
    for i, view in enumerate(views):
        positive = (i + rows) % (2 * rows)
        others = {k for k in range(2 * rows) if excluded is None or not excluded[i, k]} - {i}
        shares = [np.exp(view @ views[k] / t) for k in others | {positive}]
        losses.append(-np.log(np.exp(view @ views[positive] / t) / sum(shares)))
    return np.reshape(losses, (2, rows)).mean(0)


def rows(count: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, 8)))


def random_mask(size: int) -> np.ndarray:
    return np.random.default_rng(0).random((size, size)) < 0.4


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_each_view_tells_its_rows_other_view_from_all_others(temperature):
    first, second = rows(5, seed=1), rows(5, seed=2)
    ours = nt_xent(torch.from_numpy(first), torch.from_numpy(second), temperature)
    np.testing.assert_allclose(ours, plain_loss(first, second, temperature), rtol=1e-10)


def test_a_view_has_two_negatives_for_each_other_row():
    """Known without a formula: alike views of a row, at a right angle to those of all others."""
    axes = torch.eye(6, 8, dtype=torch.float64)
    expected = -np.log(np.exp(1 / 0.5) / (np.exp(1 / 0.5) + 2 * 5))
    np.testing.assert_allclose(nt_xent(axes, axes, 0.5), expected, rtol=1e-12)


def test_a_row_alone_has_nothing_to_be_told_from():
    first, second = (torch.from_numpy(rows(1, seed)) for seed in (1, 2))
    assert nt_xent(first, second, 0.1).item() == pytest.approx(0.0, abs=1e-12)


def test_excluded_views_leave_the_denominator_but_never_a_rows_own():
    first, second, excluded = rows(5, seed=1), rows(5, seed=2), random_mask(10)
    excluded[2] = excluded[7] = True  # both views of row 2: their positives, and themselves, too
    ours = nt_xent(*map(torch.from_numpy, (first, second)), 0.2, torch.from_numpy(excluded))
    expected = plain_loss(first, second, 0.2, excluded)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)
    assert ours[2].item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_device_has_the_losses_of_its_own_rows_among_all(monkeypatch, rank):
    first, second, excluded = rows(6, seed=1), rows(6, seed=2), random_mask(12)
    own = [2 * rank, 2 * rank + 1]  # of three devices
    gathered = iter([torch.from_numpy(first), torch.from_numpy(second)])
    monkeypatch.setattr(distributed, "gather_with_gradient", lambda _: next(gathered))
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    here = torch.from_numpy(excluded[[*own, *(row + 6 for row in own)]])
    ours = nt_xent(torch.from_numpy(first[own]), torch.from_numpy(second[own]), 0.2, here)
    np.testing.assert_allclose(ours, plain_loss(first, second, 0.2, excluded)[own], rtol=1e-10)


def test_step_is_the_weighted_mean_of_row_losses():
    """A row of weight 0 is still a negative of the others. Both views are one batch to the
    network's batch norms, as in the authors' code."""
    model = tiny.new("simclr", temperature=0.2)
    views, weight = torch.cat([images(4, 1), images(4, 2)]), [1.0, 0.0, 0.25, 0.5]
    step = model.step(*views.chunk(2), tiny.batch([0, 1, 2, 3], [0, 1, 8, 9], weight))
    one, two = np.split(tiny.embed(views, model.backbone, model.projection), 2)
    expected = np.mean(plain_loss(one, two, 0.2) * weight)
    assert step.loss.item() == pytest.approx(expected, rel=1e-4)
    embedding = unit(step.embedding.detach().double().numpy())
    np.testing.assert_allclose(embedding, one, rtol=1e-4, atol=1e-6)


def test_every_view_takes_a_gradient_as_query_positive_and_negative():
    model, other = tiny.new("simclr", temperature=0.2), tiny.new("simclr")
    views = torch.cat([images(3, 1), images(3, 2)])
    z = normalize(other.projection(other.backbone(views)).double())
    loss = 0.0
    for i in range(6):
        others = [k for k in range(6) if k != i]
        loss = loss + (z[others] @ z[i] / 0.2).logsumexp(0) - z[i] @ z[(i + 3) % 6] / 0.2
    (loss / 6).backward()
    model.step(*views.chunk(2), tiny.batch([0, 1, 2])).loss.backward()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_partners_are_no_negatives_whichever_view_shows_them():
    pairs = {(0, 12), (1, 0), (3, 12), (3, 5)}
    model = tiny.new("simclr", temperature=0.2)
    views = torch.cat([images(4, 1), images(4, 2)])
    anchor, positive = [0, 1, 2, 3], [12, 1, 12, 5]  # 0 and 12, 3 and 5 are also positives
    shown = anchor + positive
    excluded = np.array([[(i, j) in pairs or (j, i) in pairs for j in shown] for i in shown])
    batch = tiny.batch(anchor, positive, partners=Partners(*np.array(sorted(pairs)).T))
    loss = model.step(*views.chunk(2), batch).loss.item()
    one, two = np.split(tiny.embed(views, model.backbone, model.projection), 2)
    assert loss == pytest.approx(plain_loss(one, two, 0.2, excluded).mean(), rel=1e-4)
    assert loss < plain_loss(one, two, 0.2).mean() - 0.1


def test_the_projection_has_one_hidden_layer():
    layers = tiny.new("simclr").projection.layers
    norm = nn.BatchNorm1d
    assert [type(m) for m in layers] == [nn.Linear, norm, nn.ReLU, nn.Linear, norm]
    assert [tuple(m.weight.shape) for m in (layers[0], layers[3])] == [(16, 7), (8, 16)]
