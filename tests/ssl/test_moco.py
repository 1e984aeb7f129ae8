"""MoCo-v2 against its formula, and its queue and key encoder step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stages.common.errors import SeppError
from stages.ssl.losses import info_nce
from stages.ssl.methods import Batch, find_method
from stages.ssl.methods.moco import MoCo, MoCoParams

VALUES = {
    "temperature": 0.2,
    "queue": 12,
    "momentum": 0.75,
    "symmetric": True,
    "hidden_dim": 6,
    "output_dim": 5,
    "bn_splits": 1,
    "base_lr": 0.1,
    "weight_decay": 0.0,
    "sgd_momentum": 0.9,
}


def new(**changes) -> MoCo:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 7))
    return MoCo(MoCoParams(**{**VALUES, **changes}), lambda: (net, 7))


def images(rows: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 3, 2, 2, generator=torch.Generator().manual_seed(seed))


def batch(anchor: list[int], positive: list[int], weight: list[float]) -> Batch:
    return Batch(torch.tensor(anchor), torch.tensor(positive), torch.tensor(weight))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def plain_info_nce(q: np.ndarray, k: np.ndarray, queue: np.ndarray, t: float) -> np.ndarray:
    """He et al. 2020, Eq. 1, one query at a time in float64."""
    losses = []
    for query, key in zip(q, k, strict=True):
        positive = np.exp(query @ key / t)
        negatives = sum(np.exp(query @ other / t) for other in queue)
        losses.append(-np.log(positive / (positive + negatives)))
    return np.array(losses)


def outputs(model: MoCo, x: torch.Tensor, key: bool = False) -> np.ndarray:
    with torch.no_grad():
        if key:
            return unit(model.key_projection(model.key_backbone(x)).double().numpy())
        return unit(model.projection(model.backbone(x)).double().numpy())


def test_info_nce_is_the_formula():
    rng = np.random.default_rng(0)
    q, k, queue = (unit(rng.standard_normal((n, 8))) for n in (5, 5, 11))
    ours = info_nce(*map(torch.from_numpy, (q, k, queue)), temperature=0.07)
    np.testing.assert_allclose(ours.numpy(), plain_info_nce(q, k, queue, 0.07), rtol=1e-12)


@pytest.mark.parametrize("symmetric", [True, False])
def test_step_is_the_weighted_mean_of_row_losses(symmetric):
    model = new(symmetric=symmetric)
    first, second = images(4, 1), images(4, 2)
    queue = model.queue.double().numpy().copy()
    weight = [1.0, 1.0, 0.25, 0.5]
    step = model.step(first, second, batch([0, 1, 2, 3], [0, 1, 8, 9], weight))
    one = plain_info_nce(outputs(model, first), outputs(model, second, key=True), queue, 0.2)
    two = plain_info_nce(outputs(model, second), outputs(model, first, key=True), queue, 0.2)
    expected = (one + two) / 2 if symmetric else one
    assert step.loss.item() == pytest.approx(np.mean(expected * weight), rel=1e-5)


def test_a_row_of_weight_zero_has_no_gradient_and_weights_are_linear():
    def gradient(weight: list[float]) -> torch.Tensor:
        model = new()
        model.step(images(2, 1), images(2, 2), batch([0, 1], [0, 5], weight)).loss.backward()
        return model.projection.layers[0].weight.grad

    both = gradient([1.0, 0.5])
    torch.testing.assert_close(both, gradient([1.0, 0.0]) + 0.5 * gradient([0.0, 1.0]))


def test_keys_take_no_gradient():
    model = new()
    model.step(
        images(4, 1), images(4, 2), batch([0, 1, 2, 3], [0, 1, 2, 3], [1.0] * 4)
    ).loss.backward()
    for module in (model.key_backbone, model.key_projection):
        assert all(not p.requires_grad and p.grad is None for p in module.parameters())


def test_key_encoder_is_the_moving_average():
    model = new()
    old = model.key_projection.layers[0].weight.clone()
    with torch.no_grad():
        model.projection.layers[0].weight.add_(1.0)
    model.step(images(2, 1), images(2, 2), batch([0, 1], [0, 1], [1.0, 1.0]))
    expected = 0.75 * old + 0.25 * (old + 1.0)
    torch.testing.assert_close(model.key_projection.layers[0].weight, expected)


def test_queue_is_written_after_both_losses_and_wraps():
    model = new(queue=10, momentum=1.0)
    before = model.queue.clone()
    first, second = images(4, 1), images(4, 2)
    model.step(first, second, batch([0, 1, 2, 3], [0, 1, 12, 13], [1.0] * 4))
    # 8 keys: those of the positives, then those of the anchors.
    expected = np.concatenate([outputs(model, second, key=True), outputs(model, first, key=True)])
    np.testing.assert_allclose(model.queue[:8].numpy(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.queue[8:], before[8:])
    assert model.queue_ids.tolist() == [0, 1, 12, 13, 0, 1, 2, 3, -1, -1]
    model.step(first, second, batch([4, 5, 6, 7], [4, 5, 6, 7], [1.0] * 4))
    assert model.queue_ids.tolist() == [6, 7, 4, 5, 6, 7, 2, 3, 4, 5]
    assert model.queue_next.item() == 6


def test_queue_travels_in_the_state_dict():
    model = new()
    model.step(images(2, 1), images(2, 2), batch([0, 1], [0, 1], [1.0, 1.0]))
    other = new()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.queue, model.queue)
    assert other.queue_ids.tolist() == model.queue_ids.tolist()
    assert other.queue_next == model.queue_next


def test_queue_below_the_keys_of_a_step_is_refused():
    with pytest.raises(SeppError, match=r"methods\.moco\.queue 6 is below the 8 keys"):
        new(queue=6).step(images(4, 1), images(4, 2), batch([0] * 4, [0] * 4, [1.0] * 4))


def test_key_shuffling_changes_no_key_without_batch_norm():
    """Shuffled and put back: row i's key is still that of image i."""
    model = new()
    x = images(16, 3)
    np.testing.assert_allclose(
        model._key(x).numpy(), outputs(model, x, key=True), rtol=1e-5, atol=1e-6
    )


def test_found_by_name():
    assert find_method("moco") is MoCo
