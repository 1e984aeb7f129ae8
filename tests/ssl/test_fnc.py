"""FNC against its definition in loops over rows, views and the memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch.nn.functional import normalize

from stages.ssl.methods.fnc import FNC, false_negatives, multi_positive_nce
from stages.ssl.partners import Partners
from tests.ssl import tiny
from tests.ssl.tiny import common_views, images, move, trained, unit

SETTINGS = {"top_k": 3, "threshold": 0.8, "temperature": 0.2, "queue": 32, "momentum": 1.0}
STRATEGIES = pytest.mark.parametrize("strategy", ["attract", "eliminate"])


def new(**changes) -> FNC:
    """The trained encoder has moved away from the key encoder already."""
    model = tiny.new("fnc", **{**SETTINGS, **changes})
    move(model)
    tiny.settle(model.backbone, model.projection)
    tiny.settle(*model.key_encoder.average)
    return model


def queries(model: FNC, views: list[torch.Tensor]) -> np.ndarray:  # (V, B, D)
    return np.stack([tiny.embed(view, model.backbone, model.projection) for view in views])


def keys(model: FNC, views: list[torch.Tensor]) -> np.ndarray:  # (V, B, D)
    return np.stack([tiny.embed(view, *model.key_encoder.average) for view in views])


def plain_false_negatives(
    keys: np.ndarray, memory: np.ndarray, never: np.ndarray, top_k: int, threshold: float
) -> list[set[int]]:
    """Huynh et al. 2022, section 3.2, places in the memory for each row.

    Args:
        keys: (V, B, D).
        memory: (M, D).
        never: (B, M) bool.
    """
    found = []
    for row in range(keys.shape[1]):
        scores = {m: max(keys[:, row] @ memory[m]) for m in np.flatnonzero(~never[row])}
        best = sorted(scores, key=scores.get, reverse=True)[:top_k]
        found.append({m for m in best if scores[m] > threshold})
    return found


def plain_loss(
    queries: np.ndarray,
    memory: np.ndarray,
    own: np.ndarray,
    attracted: list[set[int]],
    dropped: list[set[int]],
    t: float,
) -> np.ndarray:
    """(B,) as in google-research/fnc: for each of V views the mean over positives, which are the
    V - 1 other views' keys and the attracted; summed, and times 2 / V.

    Args:
        queries: (V, B, D).
        memory: (M, D).
        own: (V, B) places of the same views' keys in the memory.
    """
    views, rows, _ = queries.shape
    losses = np.zeros(rows)
    for row in range(rows):
        for view in range(views):
            logits = memory @ queries[view, row] / t
            itself, others = own[view, row], {*np.delete(own[:, row], view)}
            left = [m for m in range(len(memory)) if m != itself and m not in dropped[row]]
            positives = [*others, *attracted[row]]
            losses[row] += logsumexp(logits[left]) - logits[positives].mean()
    return losses * 2 / views


def views_and_batch(model: FNC, seed: int, *rows: list, **more) -> tuple:
    """(4, 3, 2, 2) views and the batch with the others in it."""
    count = 2 + model.params.support_views
    first, second, *support = (images(4, seed + view) for view in range(count))
    return first, second, tiny.batch(*rows, extra=support, **more)


def step_and_what_it_should_be(
    model: FNC, weight: list[float], mined: Sequence[tuple[int, int]] = ()
) -> tuple:
    """A step whose memory has keys of an earlier one, some images in both.

    Returns:
        Step, expected loss, expected pairs of (anchor, image found).
    """
    p = model.params
    model.step(*views_and_batch(model, 0, [0, 1, 2, 3], [0, 1, 12, 3]))
    before = int(model.queue.next)
    rows = [4, 1, 2, 5], [4, 1, 13, 12]
    partners = Partners(*np.array(mined).T) if mined else None
    first, second, batch = views_and_batch(model, 50, *rows, weight, partners=partners)
    step = model.step(first, second, batch)

    views, ids = [first, second, *batch.extra], model.queue.ids.tolist()
    memory = model.queue.rows.double().numpy()
    own = before + np.arange(4 * len(views)).reshape(len(views), 4)
    both_orders = {*mined, *(pair[::-1] for pair in mined)}
    itself, partner = np.zeros((2, 4, len(ids)), dtype=bool)
    for row, pair in enumerate(zip(*rows, strict=True)):
        itself[row] = [i in (-1, *pair) for i in ids]
        partner[row] = [any((member, i) in both_orders for member in pair) for i in ids]
    found = plain_false_negatives(
        keys(model, views), memory, itself | partner, p.top_k, p.threshold
    )
    attracted, dropped = [set() for _ in range(4)], [{*np.flatnonzero(row)} for row in partner]
    for row in range(4):
        chosen = attracted if p.strategy == "attract" else dropped
        chosen[row] |= found[row]
        dropped[row] -= {*own[:, row]}
    losses = plain_loss(queries(model, views), memory, own, attracted, dropped, p.temperature)
    named = [(rows[0][row], ids[place]) for row in range(4) for place in found[row]]
    assert min(map(len, found)) < p.top_k == max(map(len, found))  # both limits are at work
    return step, np.mean(losses * weight), named


def test_false_negatives_are_among_the_best_and_above_the_threshold():
    scores = torch.tensor([[0.9, 0.8, 0.75, 0.1], [0.9, 0.6, 0.2, 0.1], [0.5, 0.6, 0.1, 0.65]])
    nobody = torch.zeros(3, 4, dtype=torch.bool)
    found = false_negatives(scores, nobody, top_k=2, threshold=0.7)
    assert [row.nonzero()[:, 0].tolist() for row in found] == [[0, 1], [0], []]


def test_those_who_are_out_of_the_question_take_no_place_among_the_best():
    scores = torch.tensor([[0.9, 0.8, 0.75, 0.72]])
    never = torch.tensor([[True, False, True, False]])
    assert false_negatives(scores, never, 2, 0.7).tolist() == [[False, True, False, True]]
    assert false_negatives(scores, never, 9, 0.7).tolist() == [[False, True, False, True]]


def test_attraction_is_the_mean_log_share_of_the_positives_on_the_whole_denominator():
    rng = np.random.default_rng(0)
    query, memory = unit(rng.standard_normal((3, 8))), unit(rng.standard_normal((6, 8)))
    positive = np.array([[1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 1, 0], [0, 0, 1, 0, 0, 1]], dtype=bool)
    hidden = np.array([[0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], dtype=bool)
    expected = []
    for q, yes, no in zip(query, positive, hidden, strict=True):
        shares = np.exp(memory @ q / 0.2) / np.exp(memory[~no] @ q / 0.2).sum()
        expected.append(-np.log(shares[yes]).mean())
    tensors = map(torch.from_numpy, (query, memory, positive, hidden))
    np.testing.assert_allclose(multi_positive_nce(*tensors, 0.2), expected, rtol=1e-10)


@STRATEGIES
@pytest.mark.parametrize(("support", "threshold"), [(0, 0.6), (2, 0.8)])
def test_step_is_the_weighted_mean_of_row_losses(strategy, support, threshold):
    model = new(strategy=strategy, support_views=support, threshold=threshold)
    step, expected, _ = step_and_what_it_should_be(model, [1.0, 0.0, 0.25, 0.5])
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)


@STRATEGIES
def test_false_negatives_are_reported_by_their_images(strategy):
    step, _, named = step_and_what_it_should_be(new(strategy=strategy), [1.0] * 4)
    assert sorted(zip(*map(torch.Tensor.tolist, step.neighbours), strict=True)) == sorted(named)
    assert not set(named) & {(4, 4), (1, 1), (2, 2), (2, 13), (5, 5), (5, 12)}


@STRATEGIES
def test_partners_are_neither_negatives_nor_false_negatives(strategy):
    mined = [(4, 1), (2, 13), (2, 5)]
    step, expected, named = step_and_what_it_should_be(new(strategy=strategy), [1.0] * 4, mined)
    assert step.loss.item() == pytest.approx(expected, rel=1e-5)
    assert not set(named) & {(4, 1), (1, 4), (2, 5), (5, 2)}


def test_the_memory_holds_this_steps_keys_of_all_views_in_turn():
    model = new(queue=20)
    first, second, *support = views = [images(4, seed) for seed in range(4)]
    batch = tiny.batch([0, 1, 2, 3], [0, 1, 12, 13], extra=support)
    model.step(first, second, batch)
    here = np.concatenate(keys(model, views))
    np.testing.assert_allclose(model.queue.rows[:16], here, rtol=1e-4, atol=1e-6)
    both = [0, 1, 2, 3, 0, 1, 12, 13]
    assert model.queue.ids.tolist() == [*both, *both, -1, -1, -1, -1]
    model.step(first, second, batch)
    np.testing.assert_allclose(model.queue.rows[16:], here[:4], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.queue.rows[:12], here[4:], rtol=1e-4, atol=1e-6)


def test_the_loss_is_right_where_the_memory_wraps_around():
    model = new(queue=20, strategy="eliminate", threshold=1.0)
    first, second, *support = views = [images(4, seed) for seed in range(4)]
    batch = tiny.batch([0, 1, 2, 3], extra=support)
    model.step(first, second, batch)
    loss = model.step(first, second, batch).loss.item()
    nobody = [set()] * 4
    own = (16 + np.arange(16).reshape(4, 4)) % 20
    memory = model.queue.rows.double().numpy()
    expected = plain_loss(queries(model, views), memory, own, nobody, nobody, 0.2).mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_keys_take_no_gradient():
    """The gradient is that of a memory which is constant."""
    model, other = new(top_k=1, threshold=1.0), new()
    first, second, *support = views = [images(4, seed) for seed in range(4)]
    memory = other.queue.rows.clone()
    memory[:16] = torch.from_numpy(np.concatenate(keys(other, views)))
    loss = 0.0
    for i, view in enumerate(views):
        logits = normalize(other.projection(other.backbone(view))) @ memory.T / 0.2
        for row in range(4):
            left = [m for m in range(32) if m != 4 * i + row]
            positives = [4 * j + row for j in range(4) if j != i]
            loss = loss + logits[row, left].logsumexp(0) - logits[row, positives].mean()
    (loss / 4 * 2 / 4).backward()
    model.step(first, second, tiny.batch([0, 1, 2, 3], extra=support)).loss.backward()
    for ours, theirs in zip(trained(model), trained(other), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)
    assert not any(p.requires_grad for p in model.key_encoder.parameters())
    assert not model.queue.rows.requires_grad


def test_the_key_encoder_is_the_moving_average():
    model = new(momentum=0.75)
    before = [p.clone() for p in model.key_encoder.parameters()]
    model.step(*views_and_batch(model, 0, [0, 1, 2, 3]))
    followed = [*model.backbone.parameters(), *model.projection.parameters()]
    for now, query, old in zip(model.key_encoder.parameters(), followed, before, strict=True):
        torch.testing.assert_close(now, 0.75 * old + 0.25 * query.detach())


def test_the_embedding_is_the_first_views_and_all_views_share_their_batch_statistics():
    model = new().train()
    first, second, batch = views_and_batch(model, 0, [0, 1, 2, 3])
    together = queries(model, [torch.cat([first, second, *batch.extra])])[0]
    embedding = model.step(first, second, batch).embedding.detach()
    np.testing.assert_allclose(embedding, together[:4], rtol=1e-4, atol=1e-5)


def test_support_views_are_as_the_two():
    views = common_views()
    assert new(support_views=3).row_views(views) == [views] * 5
    assert new(support_views=0).row_views(views) == [views] * 2
