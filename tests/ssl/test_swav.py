"""SwAV against the paper's algorithm written out in loops, and its queues and prototypes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch.nn.functional import cross_entropy, normalize

from stages.ssl.methods.swav import SwAV, sinkhorn, swapped_prediction
from tests.ssl import tiny
from tests.ssl.tiny import images, unit


def new(**changes) -> SwAV:
    model = tiny.new("swav", **changes)
    tiny.settle(model.backbone, model.projection)
    return model


def plain_codes(scores: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """Caron et al. 2020, section 3.1 and its listing: (N, K) scores to (N, K) codes."""
    plan = np.exp(scores.astype(np.float64) / epsilon).T
    plan /= plan.sum()
    prototypes, rows = plan.shape
    for _ in range(iterations):
        for k in range(prototypes):
            plan[k] *= 1 / prototypes / plan[k].sum()
        for n in range(rows):
            plan[:, n] *= 1 / rows / plan[:, n].sum()
    return (plan * rows).T


def plain_loss(views: list[np.ndarray], codes: list[np.ndarray], t: float) -> np.ndarray:
    """Eq. 1 and 2 for each row; with small crops, each code is predicted from all other views."""
    losses = np.zeros(len(codes[0]))
    for i, code in enumerate(codes):
        others = [view for j, view in enumerate(views) if j != i]
        for view in others:
            cross_entropies = -(code * log_softmax(view / t, axis=1)).sum(1)
            losses += cross_entropies / len(others) / len(codes)
    return losses


def embed(model: SwAV, view: torch.Tensor) -> np.ndarray:
    return tiny.embed(view, model.backbone, model.projection)


def prototypes(model: SwAV) -> np.ndarray:
    """Directions (D, K)."""
    return unit(model.prototypes.weight.detach().double().numpy()).T


def cosines(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (rows, columns))


def test_sinkhorn_is_the_papers_algorithm():
    scores = cosines(9, 4, seed=0)
    codes = sinkhorn(torch.from_numpy(scores), torch.ones(9, dtype=torch.float64), 0.05, 3)
    np.testing.assert_allclose(codes.numpy(), plain_codes(scores, 0.05, 3), rtol=1e-10)


def test_codes_are_shares_and_prototypes_get_equal_mass():
    mass = torch.tensor([1.0, 0.25, 1.0, 0.5, 1.0], dtype=torch.float64)
    codes = sinkhorn(torch.from_numpy(cosines(5, 3, seed=1)), mass, 0.5, 300)
    np.testing.assert_allclose(codes.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(mass @ codes / mass.sum(), 1 / 3, rtol=1e-10)


@pytest.mark.parametrize("iterations", [1, 3])
def test_a_row_of_mass_two_is_a_row_that_occurs_twice(iterations):
    scores, mass = cosines(6, 4, seed=2), np.array([1, 2, 1, 3, 1, 1])
    repeated = plain_codes(scores.repeat(mass, axis=0), 0.05, iterations)
    codes = sinkhorn(torch.from_numpy(scores), torch.from_numpy(mass).double(), 0.05, iterations)
    np.testing.assert_allclose(codes.numpy().repeat(mass, axis=0), repeated, rtol=1e-9)


def test_a_row_of_mass_zero_is_as_if_it_were_not_there():
    scores, mass = cosines(6, 4, seed=2), np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    codes = sinkhorn(torch.from_numpy(scores), torch.from_numpy(mass), 0.05, 3).numpy()
    np.testing.assert_allclose(codes[mass > 0], plain_codes(scores[mass > 0], 0.05, 3), rtol=1e-9)
    np.testing.assert_allclose(codes.sum(1), 1)


def test_codes_are_finite_in_float32_however_small_epsilon_is():
    scores = torch.from_numpy(cosines(6, 4, seed=4)).float()
    codes = sinkhorn(scores, torch.ones(6), 1e-3, 3)
    torch.testing.assert_close(codes.sum(1), torch.ones(6))


def test_codes_depend_on_the_proportions_of_masses_only():
    scores = torch.from_numpy(cosines(6, 4, seed=3))
    mass = torch.tensor([1.0, 0.2, 0.2, 1.0, 1.0, 0.2], dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores, mass, 0.05, 3), sinkhorn(scores, 7 * mass, 0.05, 3))


@pytest.mark.parametrize("crops", [0, 3])
def test_each_code_is_predicted_from_all_other_views(crops):
    views = [cosines(5, 4, seed) for seed in range(2 + crops)]
    codes = [plain_codes(view, 0.05, 3) for view in views[:2]]
    ours = swapped_prediction([*map(torch.from_numpy, views)], [*map(torch.from_numpy, codes)], 0.1)
    np.testing.assert_allclose(ours.numpy(), plain_loss(views, codes, 0.1), rtol=1e-10)


@pytest.mark.parametrize("crops", [0, 2])
def test_step_is_the_loss_on_cosines_to_the_prototypes(crops):
    model = new(queue=0, temperature=0.2)
    first, second, *local = (images(6, seed) for seed in range(2 + crops))
    step = model.step(first, second, tiny.batch(list(range(6)), extra=local))
    views = [embed(model, view) @ prototypes(model) for view in (first, second, *local)]
    codes = [plain_codes(view, 0.05, 3) for view in views[:2]]
    assert step.loss.item() == pytest.approx(plain_loss(views, codes, 0.2).mean(), rel=1e-5)
    np.testing.assert_allclose(step.embedding.detach(), embed(model, first), rtol=1e-4, atol=1e-6)


def test_both_large_views_share_their_batch_statistics():
    model, views = new().train(), [images(4, 1), images(4, 2)]
    together = embed(model, torch.cat(views))
    embedding = model.step(*views, tiny.batch([0, 1, 2, 3])).embedding.detach()
    np.testing.assert_allclose(embedding, together[:4], rtol=1e-4, atol=1e-5)


def test_a_weight_multiplies_the_rows_loss_and_is_its_mass():
    model = new(queue=0)
    first, second, weight = images(4, 1), images(4, 2), np.array([1, 3, 0, 2])
    step = model.step(first, second, tiny.batch([0, 1, 2, 3], [0, 8, 9, 3], [1.0, 3.0, 0.0, 2.0]))
    views = [embed(model, v).repeat(weight, axis=0) @ prototypes(model) for v in (first, second)]
    codes = [plain_codes(view, 0.05, 3) for view in views]
    expected = plain_loss(views, codes, 0.1).sum() / 4
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)


def test_cosines_to_prototypes_are_in_float32_under_autocast():
    model, view = new(queue=6, queue_epoch=0), images(6, 1)
    batch = tiny.batch(list(range(6)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.step(view, view, batch)  # fills the queues
        step = model.step(view, view, batch)
    scores = step.embedding.detach().double().numpy() @ prototypes(model)
    codes = plain_codes(scores, 0.05, 3)  # with the same rows in the queue: the same
    assert step.loss.item() == pytest.approx(
        plain_loss([scores] * 2, [codes] * 2, 0.1).mean(), rel=1e-5
    )


def test_codes_take_no_gradient():
    """The gradient is that of predicting constants."""
    first, second = images(5, 1), images(5, 2)
    model, other = new(queue=0), new(queue=0)
    model.step(first, second, tiny.batch([0, 1, 2, 3, 4])).loss.backward()
    with torch.no_grad():
        other.prototypes.weight.copy_(normalize(other.prototypes.weight))
    views = [
        other.prototypes(normalize(other.projection(other.backbone(v)))) for v in (first, second)
    ]
    one, two = (torch.from_numpy(plain_codes(v.detach().numpy(), 0.05, 3)).float() for v in views)
    loss = cross_entropy(views[0] / 0.1, two) + cross_entropy(views[1] / 0.1, one)
    (loss / 2).backward()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def loss_with_queues(model: SwAV, views: list[torch.Tensor], queues: list[np.ndarray]) -> float:
    """Of a batch whose views were clustered together with these embeddings."""
    scores = [embed(model, view) @ prototypes(model) for view in views]
    together = [
        np.concatenate([own, rows @ prototypes(model)])
        for own, rows in zip(scores, queues, strict=True)
    ]
    codes = [plain_codes(both, 0.05, 3)[: len(views[0])] for both in together]
    return plain_loss(scores, codes, 0.1).mean()


def test_queues_are_clustered_too_from_their_epoch_on():
    model = new(queue=4, queue_epoch=2)  # full after the first step
    nothing = [np.empty((0, 8))] * 2
    for epoch in range(4):
        views = [images(4, 10 * epoch), images(4, 10 * epoch + 1)]
        queued = [queue.rows.double().numpy().copy() for queue in model.queues]
        loss = model.step(*views, tiny.batch([0, 1, 2, 3], epoch=epoch)).loss.item()
        with_them = loss_with_queues(model, views, queued)
        without = loss_with_queues(model, views, nothing)
        assert with_them != pytest.approx(without, rel=1e-4)
        assert loss == pytest.approx(with_them if epoch >= 2 else without, rel=1e-5)


def test_queues_count_only_once_they_are_full():
    model = new(queue=6, queue_epoch=0)
    for step in range(3):
        views = [images(4, 10 * step), images(4, 10 * step + 1)]
        queued = [queue.rows.double().numpy().copy() for queue in model.queues]
        loss = model.step(*views, tiny.batch([0, 1, 2, 3], epoch=5)).loss.item()
        if step < 2:  # 0 and 4 of 6 rows are embeddings, the others random
            queued = [np.empty((0, 8))] * 2
        assert loss == pytest.approx(loss_with_queues(model, views, queued), rel=1e-5)


def test_each_view_has_a_queue_of_its_embeddings_and_images():
    model = new(queue=6)
    first, second = images(4, 1), images(4, 2)
    model.step(first, second, tiny.batch([0, 1, 2, 3], [0, 1, 12, 13]))
    for queue, view in zip(model.queues, (first, second), strict=True):
        np.testing.assert_allclose(queue.rows[:4], embed(model, view), rtol=1e-4, atol=1e-6)
    assert [queue.ids.tolist() for queue in model.queues] == [
        [0, 1, 2, 3, -1, -1],
        [0, 1, 12, 13, -1, -1],
    ]


def test_there_are_no_queues_of_size_zero():
    assert not new(queue=0).queues
    assert not any("queue" in name for name in new(queue=0).state_dict())


def test_prototypes_are_brought_back_to_length_one_at_each_step():
    model = new(queue=0)
    views = images(4, 1), images(4, 2)
    losses = []
    for _ in range(2):
        losses.append(model.step(*views, tiny.batch([0, 1, 2, 3])).loss.item())
        torch.testing.assert_close(model.prototypes.weight.norm(dim=1), torch.ones(12))
        with torch.no_grad():
            model.prototypes.weight.mul_(torch.arange(1.0, 13.0)[:, None])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
