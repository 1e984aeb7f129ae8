"""MoCo-v2 against its formula, and its queue and key encoder step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from stages.ssl.batch_norm import SplitBatchNorm
from stages.ssl.losses import info_nce
from stages.ssl.methods import find_method
from stages.ssl.methods.moco import MoCo, MoCoParams
from stages.ssl.partners import Partners
from tests.ssl import tiny
from tests.ssl.tiny import images, move, trained, unit

BOTH_DIRECTIONS = pytest.mark.parametrize("symmetric", [True, False])


def new(**changes) -> MoCo:
    """The trained encoder has moved away from the key encoder already."""
    model = tiny.new("moco", **{"temperature": 0.2, "queue": 12, "momentum": 0.75, **changes})
    move(model)
    return model


def plain_info_nce(
    q: np.ndarray, k: np.ndarray, queue: np.ndarray, t: float, excluded: np.ndarray | None = None
) -> np.ndarray:
    """He et al. 2020, Eq. 1, one query at a time in float64."""
    losses = []
    for i, (query, key) in enumerate(zip(q, k, strict=True)):
        left = queue if excluded is None else queue[~excluded[i]]
        positive = np.exp(query @ key / t)
        negatives = sum(np.exp(query @ other / t) for other in left)
        losses.append(-np.log(positive / (positive + negatives)))
    return np.array(losses)


def queries(model: MoCo, view: torch.Tensor) -> np.ndarray:
    return tiny.embed(view, model.backbone, model.projection)


def keys(model: MoCo, view: torch.Tensor) -> np.ndarray:
    return tiny.embed(view, *model.key_encoder.average)


def test_info_nce_is_the_formula():
    rng = np.random.default_rng(0)
    q, k, queue = (unit(rng.standard_normal((n, 8))) for n in (5, 5, 11))
    ours = info_nce(*map(torch.from_numpy, (q, k, queue)), temperature=0.07)
    np.testing.assert_allclose(ours.numpy(), plain_info_nce(q, k, queue, 0.07), rtol=1e-12)


@BOTH_DIRECTIONS
def test_step_is_the_weighted_mean_of_row_losses(symmetric):
    model = new(symmetric=symmetric)
    first, second = images(4, 1), images(4, 2)
    queue = model.queue.rows.double().numpy().copy()
    weight = [1.0, 0.0, 0.25, 0.5]
    step = model.step(first, second, tiny.batch([0, 1, 2, 3], [0, 1, 8, 9], weight))
    one = plain_info_nce(queries(model, first), keys(model, second), queue, 0.2)
    two = plain_info_nce(queries(model, second), keys(model, first), queue, 0.2)
    expected = (one + two) / 2 if symmetric else one
    assert step.loss.item() == pytest.approx(np.mean(expected * weight), rel=1e-5)
    embedding = unit(step.embedding.detach().double().numpy())
    np.testing.assert_allclose(embedding, queries(model, first), rtol=1e-4, atol=1e-6)


def test_a_row_of_weight_zero_has_no_gradient_and_weights_are_linear():
    def gradient(weight: list[float]) -> torch.Tensor:
        model = new()
        batch = tiny.batch([0, 1], [0, 5], weight)
        model.step(images(2, 1), images(2, 2), batch).loss.backward()
        return model.projection.layers[0].weight.grad

    both = gradient([1.0, 0.5])
    torch.testing.assert_close(both, gradient([1.0, 0.0]) + 0.5 * gradient([0.0, 1.0]))


@BOTH_DIRECTIONS
def test_semantic_rows_give_the_gradient_of_eq_2(symmetric):
    """Eq. 2 of the SePP paper, for N images i with un-augmented views and P partners m of theirs:
    1/N sum_i [ l(u_i, v_i) + sum_m lambda l(u_i, v_m) ].

    A batch of N instance rows and P semantic rows of weight lambda has N/(N + P) times its
    gradient, for the mean is over rows instead of images. What differs otherwise is the negatives
    of later steps: the keys of all N + P rows are enqueued instead of the N images' own.
    """
    model, other = (new(queue=32, momentum=1.0, symmetric=symmetric) for _ in range(2))
    pictures, partners = images(9, 1), {0: [1, 7], 1: [], 2: [], 3: [8]}
    count, weight, temperature = len(partners), 0.3, 0.2
    pairs = [(i, m) for i in partners for m in partners[i]]
    anchor = [*partners, *(i for i, _ in pairs)]
    positive = [*partners, *(m for _, m in pairs)]

    u = normalize(other.projection(other.backbone(pictures)).double())
    v, queue = torch.from_numpy(keys(other, pictures)), other.queue.rows.double()

    def one_way(i: int, m: int) -> torch.Tensor:
        own, others = (u[i] @ v[m] / temperature).exp(), (queue @ u[i] / temperature).exp()
        return -(own / (own + others.sum())).log()

    def term(i: int, m: int) -> torch.Tensor:
        return (one_way(i, m) + one_way(m, i)) / 2 if symmetric else one_way(i, m)

    eq_2 = sum(term(i, i) + sum(weight * term(i, m) for m in partners[i]) for i in partners) / count
    (eq_2 * count / (count + len(pairs))).backward()

    batch = tiny.batch(anchor, positive, [1.0] * count + [weight] * len(pairs))
    model.step(pictures[anchor], pictures[positive], batch).loss.backward()
    for ours, theirs in zip(trained(model), trained(other), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)

    enqueued = positive + anchor if symmetric else positive
    assert len(enqueued) == (count + len(pairs)) * (1 + symmetric)
    known = model.queue.ids >= 0
    assert model.queue.ids[known].tolist() == enqueued
    np.testing.assert_allclose(model.queue.rows[known], v[enqueued], rtol=1e-4, atol=1e-6)


def test_keys_take_no_gradient():
    model = new()
    model.step(images(4, 1), images(4, 2), tiny.batch([0, 1, 2, 3])).loss.backward()
    assert all(not p.requires_grad and p.grad is None for p in model.key_encoder.parameters())
    assert not model.queue.rows.requires_grad


def test_the_key_encoder_starts_as_the_encoder():
    model = tiny.new("moco")
    for key, query in zip(model.key_encoder.parameters(), trained(model), strict=True):
        assert torch.equal(key, query)
        assert key is not query


def test_key_encoder_is_the_moving_average():
    model = new()
    expected = [p.clone() for p in model.key_encoder.parameters()]
    for seed in range(3):
        model.step(images(2, seed), images(2, 10 + seed), tiny.batch([0, 1], progress=seed / 3))
        pairs = zip(expected, trained(model), strict=True)
        expected = [0.75 * key + 0.25 * query.detach() for key, query in pairs]
        torch.testing.assert_close([p.data for p in model.key_encoder.parameters()], expected)
        with torch.no_grad():
            for parameter in trained(model):
                parameter.add_(0.1)


def test_queue_is_written_after_both_losses_and_wraps():
    model = new(queue=10, momentum=1.0)
    before = model.queue.rows.clone()
    first, second = images(4, 1), images(4, 2)
    model.step(first, second, tiny.batch([0, 1, 2, 3], [0, 1, 12, 13]))
    # 8 keys: those of the positives, then those of the anchors.
    expected = np.concatenate([keys(model, second), keys(model, first)])
    np.testing.assert_allclose(model.queue.rows[:8], expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(model.queue.rows[8:], before[8:])
    assert model.queue.ids.tolist() == [0, 1, 12, 13, 0, 1, 2, 3, -1, -1]
    queue = model.queue.rows.double().numpy().copy()
    loss = model.step(second, first, tiny.batch([4, 5, 6, 7])).loss.item()
    one = plain_info_nce(queries(model, second), keys(model, first), queue, 0.2)
    two = plain_info_nce(queries(model, first), keys(model, second), queue, 0.2)
    assert loss == pytest.approx((one + two).mean() / 2, rel=1e-5)
    assert model.queue.ids.tolist() == [6, 7, 4, 5, 6, 7, 2, 3, 4, 5]
    assert model.queue.next.item() == 6


def test_keys_of_the_positives_alone_are_enqueued_when_one_view_asks():
    model = new(symmetric=False)
    second = images(4, 2)
    model.step(images(4, 1), second, tiny.batch([0, 1, 2, 3], [0, 1, 12, 13]))
    np.testing.assert_allclose(model.queue.rows[:4], keys(model, second), rtol=1e-4, atol=1e-6)
    assert model.queue.ids.tolist() == [0, 1, 12, 13] + [-1] * 8


@BOTH_DIRECTIONS
def test_partners_keys_leave_the_denominator_in_both_directions(symmetric):
    pairs = {(0, 12), (1, 0), (3, 12), (3, 5)}
    model = new(symmetric=symmetric)
    queued = [12, 0, 5, 3, 12, 1, 7, 0, 2, -1, -1, -1]
    model.queue.ids.copy_(torch.tensor(queued))
    queue = model.queue.rows.double().numpy().copy()
    first, second = images(4, 1), images(4, 2)
    anchor, positive = [0, 1, 2, 3], [12, 1, 7, 5]
    batch = tiny.batch(anchor, positive, partners=Partners(*np.array(sorted(pairs)).T))
    loss = model.step(first, second, batch).loss.item()

    def mask(ids: list[int]) -> np.ndarray:
        return np.array([[(i, j) in pairs or (j, i) in pairs for j in queued] for i in ids])

    one = plain_info_nce(queries(model, first), keys(model, second), queue, 0.2, mask(anchor))
    two = plain_info_nce(queries(model, second), keys(model, first), queue, 0.2, mask(positive))
    expected = (one + two) / 2 if symmetric else one
    assert loss == pytest.approx(expected.mean(), rel=1e-5)


def test_queue_travels_in_the_state_dict():
    model = new()
    model.step(images(2, 1), images(2, 2), tiny.batch([0, 1]))
    other = new()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.queue.rows, model.queue.rows)
    assert other.queue.ids.tolist() == model.queue.ids.tolist()
    assert other.queue.next == model.queue.next == 4
    pairs = zip(other.key_encoder.parameters(), model.key_encoder.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_keys_are_made_in_another_order_and_put_back():
    """Row i's key is still that of image i."""
    model, seen = new(), []
    model.key_encoder.register_forward_pre_hook(lambda _, views: seen.append(views[0]))
    view = images(16, 3)
    np.testing.assert_allclose(model._key(view), keys(model, view), rtol=1e-4, atol=1e-6)
    places = [next(i for i, image in enumerate(view) if torch.equal(image, x)) for x in seen[0]]
    assert sorted(places) == list(range(16))
    assert sum(place == i for i, place in enumerate(places)) < 8


def test_batch_norms_of_both_encoders_are_split():
    def backbone() -> tuple[nn.Module, int]:
        return nn.Sequential(nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5), nn.Flatten()), 5

    model = MoCo(MoCoParams(**tiny.values("moco", bn_splits=4)), backbone)
    for encoder in (model.backbone, model.key_encoder.average[0]):
        assert isinstance(encoder[1], SplitBatchNorm)
        assert encoder[1].splits == 4
    assert not MoCo.synchronised


def test_the_head_has_one_hidden_layer_and_no_batch_norm():
    layers = new().projection.layers
    assert [type(m) for m in layers] == [nn.Linear, nn.ReLU, nn.Linear]
    assert [tuple(m.weight.shape) for m in (layers[0], layers[2])] == [(16, 7), (8, 16)]


def test_found_by_name():
    assert find_method("moco") is MoCo
