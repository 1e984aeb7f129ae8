"""DINO against its algorithm written out per row and pair of views, and its teacher and centre."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from stages.ssl.methods.dino import DINO, distillation
from tests.ssl import tiny
from tests.ssl.tiny import images, move, trained, unit


def new(**changes) -> DINO:
    """The student has moved away from the teacher already, and the centre from zero."""
    model = tiny.new("dino", **changes)
    model.center.copy_(torch.linspace(-0.2, 0.2, len(model.center)))
    move(model)
    return model


def plain_loss(
    student: list[np.ndarray],
    teacher: list[np.ndarray],
    center: np.ndarray,
    student_temperature: float,
    teacher_temperature: float,
) -> np.ndarray:
    """Caron et al. 2021, Algorithm 1 with Eq. 3: for each row, the mean over pairs of views."""
    losses = []
    for row in range(len(teacher[0])):
        terms = []
        for i, target in enumerate(teacher):
            share = softmax((target[row] - center) / teacher_temperature)
            for j, scores in enumerate(student):
                if j != i:
                    terms.append(-share @ log_softmax(scores[row] / student_temperature))
        losses.append(np.mean(terms))
    return np.array(losses)


def scores(view: torch.Tensor, *modules: torch.nn.Module) -> np.ndarray:
    """Cosines (B, K) of the bottleneck of (backbone, projection, prototypes) to each prototype."""
    weight = modules[2].weight.detach().double().numpy()
    return tiny.embed(view, *modules[:2]) @ unit(weight).T


def student_scores(model: DINO, view: torch.Tensor) -> np.ndarray:
    return scores(view, model.backbone, model.projection, model.prototypes)


def teacher_scores(model: DINO, view: torch.Tensor) -> np.ndarray:
    return scores(view, *model.teacher.average)


@pytest.mark.parametrize("crops", [0, 3])
def test_student_meets_the_centred_and_sharpened_teacher_in_all_other_views(crops):
    rng = np.random.default_rng(0)
    student, teacher = rng.uniform(-1, 1, (2 + crops, 4, 6)), rng.uniform(-1, 1, (2, 4, 6))
    center = rng.uniform(-0.5, 0.5, 6)
    tensors = [*map(torch.from_numpy, student)], [*map(torch.from_numpy, teacher)]
    ours = distillation(*tensors, torch.from_numpy(center), (0.1, 0.04))
    expected = plain_loss([*student], [*teacher], center, 0.1, 0.04)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("crops", [0, 2])
def test_step_is_the_weighted_mean_of_row_losses(crops):
    model = new(momentum=1.0, student_temperature=0.2, teacher_temperature=0.05)
    center = model.center.double().numpy().copy()
    views = [images(4, seed) for seed in range(2 + crops)]
    weight = [1.0, 0.0, 0.25, 0.5]
    batch = tiny.batch([0, 1, 2, 3], [0, 1, 8, 9], weight, extra=views[2:])
    step = model.step(*views[:2], batch)
    student = [student_scores(model, view) for view in views]
    teacher = [teacher_scores(model, view) for view in views[:2]]
    expected = plain_loss(student, teacher, center, 0.2, 0.05)
    assert step.loss.item() == pytest.approx(np.mean(expected * weight), rel=1e-4)
    embedding = unit(step.embedding.detach().double().numpy())
    here = tiny.embed(views[0], model.backbone, model.projection)
    np.testing.assert_allclose(embedding, here, rtol=1e-4, atol=1e-6)


def test_the_teacher_sees_the_two_large_views_only():
    model = new()
    seen = []
    model.teacher.register_forward_pre_hook(lambda _, views: seen.append(views[0]))
    first, second, *local = (images(3, seed) for seed in range(6))
    model.step(first, second, tiny.batch([0, 1, 2], extra=local))
    assert torch.equal(torch.cat(seen), torch.cat([first, second]))


def test_the_loss_is_blind_to_the_lengths_of_prototypes():
    losses = []
    for scale in (1.0, 5.0):
        model = new(momentum=1.0)
        with torch.no_grad():
            model.prototypes.weight.mul_(torch.linspace(1.0, scale, 12)[:, None])
        losses.append(model.step(images(3, 1), images(3, 2), tiny.batch([0, 1, 2])).loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_loss_and_centre_are_in_float32_under_autocast():
    model, view = new(momentum=0.0), images(4, 1)  # the teacher is the student
    center = model.center.double().numpy().copy()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = model.step(view, view, tiny.batch([0, 1, 2, 3]))
    embedding = unit(step.embedding.detach().double().numpy())
    both = [embedding @ unit(model.prototypes.weight.detach().double().numpy()).T] * 2
    assert step.loss.item() == pytest.approx(
        plain_loss(both, both, center, 0.1, 0.04).mean(), rel=1e-5
    )
    expected = 0.9 * center + 0.1 * both[0].mean(0)
    np.testing.assert_allclose(model.center, expected, rtol=1e-5, atol=1e-6)


def test_nothing_of_the_teacher_takes_a_gradient():
    """The student's gradient is that of a target which is constant."""
    model, other = new(momentum=1.0), new(momentum=1.0)
    first, second = images(4, 1), images(4, 2)
    targets = [
        torch.from_numpy(softmax((teacher_scores(other, v) - other.center.numpy()) / 0.04, axis=1))
        for v in (second, first)
    ]
    loss = 0.0
    for view, target in zip((first, second), targets, strict=True):
        logs = (other.prototypes(other.projection(other.backbone(view))) / 0.1).log_softmax(1)
        loss = loss - (target * logs).sum(1).mean() / 2
    loss.backward()
    model.step(first, second, tiny.batch([0, 1, 2, 3])).loss.backward()
    for ours, theirs in zip(trained(model), trained(other), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)
    assert not any(p.requires_grad for p in model.teacher.parameters())


def test_the_centre_moves_after_the_loss_by_the_mean_of_the_teachers_scores():
    model = new(momentum=1.0, center_momentum=0.8)
    center = model.center.double().numpy().copy()
    for step in range(3):
        views = [images(4, 10 * step + seed) for seed in range(4)]
        batch = tiny.batch([0, 1, 2, 3], extra=views[2:])
        loss = model.step(*views[:2], batch).loss.item()
        student = [student_scores(model, view) for view in views]
        teacher = [teacher_scores(model, view) for view in views[:2]]
        assert loss == pytest.approx(plain_loss(student, teacher, center, 0.1, 0.04).mean(), 1e-4)
        center = 0.8 * center + 0.2 * np.concatenate(teacher).mean(0)
        np.testing.assert_allclose(model.center, center, rtol=1e-5, atol=1e-6)


def test_a_row_counts_for_the_centre_as_often_as_its_weight_says():
    first, second, times = images(4, 1), images(4, 2), torch.tensor([1, 3, 0, 2])
    weighted, repeated = new(), new()
    weighted.step(first, second, tiny.batch([0, 1, 2, 3], weight=times.float().tolist()))
    rows = torch.arange(4).repeat_interleave(times)
    repeated.step(first[rows], second[rows], tiny.batch(rows.tolist()))
    torch.testing.assert_close(weighted.center, repeated.center)


@pytest.mark.parametrize(("progress", "momentum"), [(0, 0.6), (1 / 3, 0.7), (2 / 3, 0.9), (1, 1.0)])
def test_the_teachers_momentum_rises_to_one_by_a_cosine(progress, momentum):
    model = new(momentum=0.6)
    before = [p.clone() for p in model.teacher.parameters()]
    model.step(images(2, 1), images(2, 2), tiny.batch([0, 1], progress=progress))
    pairs = zip(model.teacher.parameters(), trained(model), before, strict=True)
    for now, student, old in pairs:
        torch.testing.assert_close(now, momentum * old + (1 - momentum) * student.detach())


def test_the_loss_sees_the_teacher_after_its_move():
    model = new(momentum=0.0)
    center = model.center.double().numpy().copy()
    first, second = images(3, 1), images(3, 2)
    loss = model.step(first, second, tiny.batch([0, 1, 2], progress=0.0)).loss.item()
    both = [student_scores(model, view) for view in (first, second)]  # of the teacher, too
    assert loss == pytest.approx(plain_loss(both, both, center, 0.1, 0.04).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("epochs", "temperatures"),
    [(0, [0.08, 0.08]), (4, [0.02, 0.04, 0.06, 0.08, 0.08])],
)
def test_the_teachers_temperature_rises_to_its_last_in_the_warm_ups_last_epoch(
    epochs, temperatures
):
    settings = {"warmup_temperature": 0.02, "warmup_temperature_epochs": epochs}
    model = new(momentum=1.0, center_momentum=1.0, teacher_temperature=0.08, **settings)
    views, center = [images(3, 1), images(3, 2)], model.center.double().numpy()
    student = [student_scores(model, view) for view in views]
    teacher = [teacher_scores(model, view) for view in views]
    for epoch, temperature in enumerate(temperatures):
        loss = model.step(*views, tiny.batch([0, 1, 2], epoch=epoch)).loss.item()
        expected = plain_loss(student, teacher, center, 0.1, temperature).mean()
        assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["sgd", "lars"])
def test_biases_and_norms_do_not_decay(kind):
    for group in new(optimizer=kind).groups():
        assert {p.ndim >= 2 for p in group.parameters} == {group.decay}
