"""NNCLR against its formula, row by row, and what enters its support set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from stages.ssl.methods.nnclr import NNCLR, neighbour_nce
from stages.ssl.partners import Partners
from tests.ssl import tiny
from tests.ssl.tiny import images, unit


def new(**changes) -> NNCLR:
    model = tiny.new("nnclr", **changes)
    tiny.settle(model.backbone, model.projection, model.prediction)
    return model


def plain_loss(
    neighbour: np.ndarray, prediction: np.ndarray, t: float, excluded: np.ndarray | None = None
) -> np.ndarray:
    """Dwibedi et al. 2021, Eq. 2, for each neighbour: (B, D) and (B, D) to (B,)."""
    losses = []
    for i, target in enumerate(neighbour):
        shares = [
            np.exp(target @ other / t)
            for j, other in enumerate(prediction)
            if i == j or excluded is None or not excluded[i, j]
        ]
        losses.append(-np.log(np.exp(target @ prediction[i] / t) / sum(shares)))
    return np.array(losses)


def projections(model: NNCLR, view: torch.Tensor) -> np.ndarray:
    return tiny.embed(view, model.backbone, model.projection)


def predictions(model: NNCLR, view: torch.Tensor) -> np.ndarray:
    return tiny.embed(view, model.backbone, model.projection, model.prediction)


def nearest(model: NNCLR, view: torch.Tensor) -> np.ndarray:
    """(B,) places in the support set."""
    rows = model.queue.rows.double().numpy()
    return np.array([np.argmax([z @ row for row in rows]) for z in projections(model, view)])


def random_rows(count: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, 8)))


def test_each_neighbour_tells_its_rows_prediction_from_the_others():
    neighbour, prediction = random_rows(5, seed=0), random_rows(5, seed=1)
    ours = neighbour_nce(torch.from_numpy(neighbour), torch.from_numpy(prediction), 0.2)
    np.testing.assert_allclose(ours, plain_loss(neighbour, prediction, 0.2), rtol=1e-10)


def test_excluded_rows_leave_the_denominator_but_never_a_rows_own():
    neighbour, prediction = random_rows(4, seed=0), random_rows(4, seed=1)
    excluded = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)
    tensors = (torch.from_numpy(array) for array in (neighbour, prediction))
    ours = neighbour_nce(*tensors, 0.2, torch.from_numpy(excluded))
    np.testing.assert_allclose(ours, plain_loss(neighbour, prediction, 0.2, excluded), rtol=1e-10)
    assert ours[3].item() == pytest.approx(0.0, abs=1e-12)  # nobody to be told from


def test_step_is_the_weighted_mean_of_both_directions():
    model = new(temperature=0.2)
    first, second, weight = images(4, 1), images(4, 2), [1.0, 0.0, 0.25, 0.5]
    rows = model.queue.rows.double().numpy().copy()
    n1, n2 = (rows[nearest(model, view)] for view in (first, second))
    p1, p2 = (predictions(model, view) for view in (first, second))
    step = model.step(first, second, tiny.batch([0, 1, 2, 3], [0, 1, 8, 9], weight))
    expected = (plain_loss(n1, p2, 0.2) + plain_loss(n2, p1, 0.2)) / 2
    assert step.loss.item() == pytest.approx(np.mean(expected * weight), rel=1e-5)
    embedding = unit(step.embedding.detach().double().numpy())
    np.testing.assert_allclose(embedding, projections(model, first), rtol=1e-4, atol=1e-6)


def test_the_images_of_the_neighbours_are_reported():
    model = new(queue=64)
    model.queue.ids.copy_(torch.arange(100, 164))
    first, second = images(8, 1), images(8, 2)
    anchor, positive = list(range(8)), [0, 1, 2, 3, 14, 15, 16, 17]
    picked = np.concatenate([nearest(model, first), nearest(model, second)])
    expected = model.queue.ids[torch.from_numpy(picked)].tolist()
    assert len(set(expected)) > 4
    ids, neighbours = model.step(first, second, tiny.batch(anchor, positive)).neighbours
    assert ids.tolist() == anchor + positive
    assert neighbours.tolist() == expected


def test_the_nearest_is_found_in_float32_under_autocast():
    """bf16 tells few of so many rows apart."""
    model = new(queue=4096)
    model.queue.ids.copy_(torch.arange(4096))
    rows = model.queue.rows.double().numpy().copy()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = model.step(images(64, 1), images(64, 2), tiny.batch(list(range(64))))
    embedding = step.embedding.detach().double().numpy()
    assert step.neighbours[1][:64].tolist() == (embedding @ rows.T).argmax(1).tolist()


def test_embeddings_of_the_first_view_enter_the_support_set():
    model = new(queue=6)
    before = model.queue.rows.clone()
    first, second = images(4, 1), images(4, 2)
    model.step(first, second, tiny.batch([0, 1, 2, 3], [0, 1, 12, 13]))
    here = projections(model, first)
    np.testing.assert_allclose(model.queue.rows[:4], here, rtol=1e-4, atol=1e-6)
    assert torch.equal(model.queue.rows[4:], before[4:])
    assert model.queue.ids.tolist() == [0, 1, 2, 3, -1, -1]
    model.step(second, first, tiny.batch([4, 5, 6, 7]))
    here = projections(model, second)[[2, 3, 0, 1]]
    np.testing.assert_allclose(model.queue.rows[[0, 1, 4, 5]], here, rtol=1e-4, atol=1e-6)
    assert model.queue.ids.tolist() == [6, 7, 2, 3, 4, 5]


def test_no_view_finds_itself_or_its_rows_other_view():
    """A step's embeddings enter after its neighbours are taken; the next step finds them."""
    model = new()
    view = images(4, 1)
    batch = tiny.batch([0, 1, 2, 3])
    assert model.step(view, view, batch).neighbours[1].tolist() == [-1] * 8
    assert model.step(view, view, batch).neighbours[1].tolist() == [0, 1, 2, 3] * 2


def test_neighbours_take_no_gradient():
    """The gradient is that of predicting constants."""
    model, other = new(), new()
    first, second = images(4, 1), images(4, 2)
    n1, n2 = (other.queue.rows[nearest(other, view)] for view in (first, second))
    p1, p2 = (
        normalize(other.prediction(other.projection(other.backbone(v)))) for v in (first, second)
    )
    own = torch.arange(4)
    (cross_entropy(n1 @ p2.T / 0.1, own) + cross_entropy(n2 @ p1.T / 0.1, own)).div(2).backward()
    model.step(first, second, tiny.batch([0, 1, 2, 3])).loss.backward()
    assert not model.queue.rows.requires_grad
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_partners_are_no_negatives_in_either_direction():
    pairs = {(0, 12), (1, 0), (3, 12), (3, 5)}
    partners = Partners(*np.array(sorted(pairs)).T)
    model = new(temperature=0.2)
    first, second = images(4, 1), images(4, 2)
    anchor, positive = [0, 1, 2, 3], [12, 1, 12, 5]
    rows = model.queue.rows.double().numpy().copy()
    n1, n2 = (rows[nearest(model, view)] for view in (first, second))
    p1, p2 = (predictions(model, view) for view in (first, second))
    loss = model.step(first, second, tiny.batch(anchor, positive, partners=partners)).loss.item()

    def mask(ids: list[int], others: list[int]) -> np.ndarray:
        return np.array([[(i, j) in pairs or (j, i) in pairs for j in others] for i in ids])

    one = plain_loss(n1, p2, 0.2, mask(anchor, positive))
    two = plain_loss(n2, p1, 0.2, mask(positive, anchor))
    assert loss == pytest.approx((one + two).mean() / 2, rel=1e-5)
