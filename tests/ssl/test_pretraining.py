"""What a method is given in a step, and what is recorded of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.common.errors import ParamError
from stages.common.images import ImageStore
from stages.common.params import load_all
from stages.ssl.batches import PairBatches, Rows
from stages.ssl.course import Course
from stages.ssl.methods import Batch, Step
from stages.ssl.preflight import check_trainings
from stages.ssl.pretraining import Pretraining, _warn_of_queue
from tests.conftest import TINY, write_params
from tests.ssl.tiny import new
from tests.ssl.training import AS_IT_IS


@pytest.fixture
def store(project) -> ImageStore:
    write_params(project / "params.yaml", {**TINY, **AS_IT_IS})
    return ImageStore(Path("data/manifest.parquet"), Path("data/images.npy"))


# What Lightning gives a module while it trains.
LOOP = {"current_epoch": 2, "global_step": 30, "global_rank": 0}


def module(store: ImageStore, method, rows: Rows, monkeypatch) -> Pretraining:
    views = load_all(Path("params.yaml")).views
    batches = PairBatches(rows, store, method.row_views(views), len(rows.anchor), 0, "pretrain")
    made = Pretraining(method, batches, Course(steps=40, epochs=4, whole=40))
    for name, value in LOOP.items():
        monkeypatch.setattr(Pretraining, name, value)
    made.images = batches.images_on(torch.device("cpu"))
    return made


def step_of(store, monkeypatch, rows: Rows, neighbours=None, extra=(), **params):
    """Run one step of a method that only listens; what it was given, and the module.

    `extra` has what is another in each extra view.
    """
    heard = {}
    method = new("simsiam", **params)

    def listen(first, second, batch):
        heard.update(first=first, second=second, batch=batch)
        return Step(first.sum() * 0, torch.ones(len(first), 2), neighbours)

    monkeypatch.setattr(method, "step", listen)

    def extra_views(views):
        return [views.model_copy(update=changes) for changes in extra]

    monkeypatch.setattr(method, "extra_views", extra_views)
    pretraining = module(store, method, rows, monkeypatch)
    pretraining.training_step(pretraining.batches[(3, 0)], 0)
    return heard, pretraining


def ids_of(views: torch.Tensor, store: ImageStore) -> list[int]:
    """The images that un-augmented views are of."""
    p = load_all(Path("params.yaml")).views
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (p.mean, p.std))
    pixels = ((views * std + mean) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [int(np.flatnonzero((store.packed == x).all((1, 2, 3)))[0]) for x in pixels]


ROWS = Rows(np.array([0, 1, 2]), np.array([3, 5, 2]), np.array([0.5, 0.5, 1], np.float32), 1)


def test_views_are_of_anchors_and_positives_and_extra_ones_of_both_in_turn(store, monkeypatch):
    heard, _ = step_of(store, monkeypatch, ROWS, extra=[{}] * 3)
    batch: Batch = heard["batch"]
    assert ids_of(heard["first"], store) == batch.anchor.tolist()
    assert ids_of(heard["second"], store) == batch.positive.tolist()
    sources = [batch.anchor, batch.positive, batch.anchor]
    assert [ids_of(view, store) for view in batch.extra] == [s.tolist() for s in sources]
    assert sorted(zip(batch.anchor.tolist(), batch.weight.tolist(), strict=True)) == [
        (0, 0.5),
        (1, 0.5),
        (2, 1.0),
    ]


def test_extra_views_leave_the_two_as_they_are(store, monkeypatch, project):
    write_params(project / "params.yaml", TINY)  # random views
    plain, _ = step_of(store, monkeypatch, ROWS)
    small = {"image_size": 6, "crop_area": (0.2, 0.4)}
    more, _ = step_of(store, monkeypatch, ROWS, extra=[small] * 2)
    assert torch.equal(plain["first"], more["first"])
    assert torch.equal(plain["second"], more["second"])
    assert [view.shape for view in more["batch"].extra] == [(3, 3, 6, 6)] * 2


def test_each_view_is_made_as_the_methods_params_say(store, monkeypatch):
    """Solarised by half: the first view as it is, the second inverted where it is bright."""
    heard, _ = step_of(store, monkeypatch, ROWS, second_view={"solarize": 1.0}, extra=[{}])
    batch: Batch = heard["batch"]
    assert ids_of(heard["first"], store) == batch.anchor.tolist()
    assert ids_of(batch.extra[0], store) == batch.anchor.tolist()
    pixels = torch.from_numpy(store.packed[batch.positive.numpy()]).permute(0, 3, 1, 2)
    p = load_all(Path("params.yaml")).views
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (p.mean, p.std))
    expected = (torch.where(pixels < 128, pixels, 255 - pixels) / 255 - mean) / std
    torch.testing.assert_close(heard["second"], expected)


def test_epoch_and_progress_are_told(store, monkeypatch):
    """By the share of the steps: the epochs of the rows are longer where steps are matched."""
    batch = step_of(store, monkeypatch, ROWS)[0]["batch"]
    assert (batch.epoch, batch.progress, batch.partners) == (3, 0.75, None)


def test_partners_are_the_paired_images_if_they_are_to_be_masked(store, monkeypatch):
    rows = ROWS._replace(mask_partners=True)
    partners = step_of(store, monkeypatch, rows)[0]["batch"].partners
    ids = torch.tensor([0, 1, 2, 3])
    assert partners.among(ids, torch.tensor([3, 2, 0])).tolist() == [
        [True, False, False],
        [False, False, False],
        [False, False, False],
        [False, False, True],
    ]


def test_shares_of_equal_labels_count_others_with_labels_alone(store, monkeypatch):
    """Labels are id modulo 3. Rows: 0-3 agree, 1-5 do not, 2-2 is no pair."""
    ids, picked = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([6, 7, -1, 1, 8])
    _, pretraining = step_of(store, monkeypatch, ROWS, neighbours=(ids, picked))
    assert pretraining.shares["pair_accuracy"].tolist() == [1, 2]
    assert pretraining.shares["neighbour_accuracy"].tolist() == [2, 3]
    pretraining.labels[6] = -1
    pretraining.shares.clear()
    pretraining._record_labels("neighbour_accuracy", ids, picked)
    assert pretraining.shares["neighbour_accuracy"].tolist() == [1, 2]


def test_masking_needs_a_method_with_negatives(project):
    changes = {**TINY, "sepp.mask_partners": True, "pretrain.method": "simsiam"}
    write_params(project / "params.yaml", changes)
    with pytest.raises(ParamError, match=r"sepp\.mask_partners.*simsiam has no negatives to mask"):
        check_trainings(Path("params.yaml"))
    write_params(project / "params.yaml", {**changes, "pretrain.method": "simclr"})
    check_trainings(Path("params.yaml"))


def test_a_queue_that_holds_an_images_own_older_keys_is_warned_of(caplog):
    """A support set, in which such a key is a neighbour, may be of any length."""
    for name, count in (("moco", 12), ("nnclr", 11)):
        _warn_of_queue(name, new(name, queue=12), count)
    assert not caplog.text
    _warn_of_queue("moco", new("moco", queue=12), 11)
    assert "methods.moco.queue 12 is above the 11 training images" in caplog.text
