"""Fine-tuning on a few labels: what it learns, on which images, and what it leaves alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stages.common import artifacts
from stages.common.errors import ParamError
from stages.common.images import ImageStore
from stages.common.param_file import validate
from stages.common.state import TrainingState
from stages.evaluation import _finetune, semi_supervised
from stages.evaluation._split import stratified
from stages.evaluation.semi_supervised import Params, evaluate, metrics
from stages.ssl.encoder import weights_digest

MANIFEST, IMAGES = Path("data/manifest.parquet"), Path("data/images.npy")
SHORT = {"epochs": 8, "milestones": [5], "batch_size": 16}


def params(*fractions: tuple[float, float, float], **changes: object) -> Params:
    names = ("share", "lr", "head_lr")
    blocks = [dict(zip(names, values, strict=True)) for values in fractions]
    return Params(**{**SHORT, "fractions": blocks, **changes})


def measure(encoder, settings: Params, seed: int = 0, key: str = "x") -> dict:
    with TrainingState("evaluate", lambda: key) as state:
        result = evaluate(encoder, ImageStore(MANIFEST, IMAGES), settings, seed, state)
        state.clear()
    return result


def test_classes_are_learnt_from_some_of_the_labels(encoder):
    before = weights_digest(encoder)
    settings = params((0.5, 0.01, 0.05), (0.02, 1e-9, 1e-9))
    result = measure(encoder, settings)
    assert result["semi_50_top1"] > 80
    assert result["semi_50_images"] == 24
    assert result["semi_2_images"] == 3
    assert result["semi_2_loss"] > result["semi_50_loss"]
    assert "semi_50_top5" not in result  # there are three classes
    assert result["note"] == "2 % is 3 of 48 images: at least one of each class"
    assert measure(encoder, settings) == result
    assert weights_digest(encoder) == before
    assert "note" not in measure(encoder, params((0.5, 0.01, 0.05), epochs=1, milestones=[]))


def test_the_list_is_recorded_and_is_the_seeds(encoder):
    settings = params((0.25, 0.01, 0.1), epochs=1, milestones=[])
    digests = [measure(encoder, settings, seed)["semi_25_digest"] for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    labels = ImageStore(MANIFEST, IMAGES).labels[:48]  # the training images come first
    ids = stratified(labels, 0.25, 0).astype("<i8")
    assert digests[0] == hashlib.sha256(ids.tobytes()).hexdigest()[:16]


def test_top5_of_more_than_five_classes(encoder):
    table = artifacts.read_parquet(MANIFEST, artifacts.MANIFEST, "prepare")
    labels = (np.arange(len(table)) % 8).astype(np.int32)
    artifacts.write_parquet(MANIFEST, table.set_column(2, "label", [labels]), artifacts.MANIFEST)
    result = measure(encoder, params((1.0, 0.01, 0.1), epochs=2, milestones=[]))
    assert 100 > result["semi_100_top5"] > result["semi_100_top1"]
    assert list(metrics(params((1.0, 0.01, 0.1)))) == ["semi_100_top1", "semi_100_top5"]


def test_milestones_that_never_come_are_told(encoder, caplog):
    fractions = ((0.25, 0.01, 0.1), (0.5, 0.01, 0.1))
    measure(encoder, params(*fractions, epochs=2, milestones=[1, 2, 5]))
    said = "semi_supervised.milestones: 2, 5: not reached in 2 epochs: lower them"
    assert caplog.messages.count(said) == 1
    caplog.clear()
    measure(encoder, params(*fractions, epochs=2, milestones=[1]), key="y")
    assert "milestones" not in caplog.text


def test_it_is_plain_gradient_descent_at_two_rates(encoder, monkeypatch):
    """A step against one written out, for which images, crops and labels are fixed."""
    images = torch.randn(16, 3, 8, 8)
    labels = torch.arange(16) % 3
    monkeypatch.setattr(
        _finetune.LabelledCrops, "draw", lambda self, fit, batch, index: (images, labels)
    )
    store, ids = ImageStore(MANIFEST, IMAGES), np.arange(16)
    schedule = params((0.5, 1, 1), epochs=3, milestones=[1], decay=0.5)
    rates = _finetune.Rates(0.01, 0.3)
    with TrainingState("evaluate", lambda: "y") as state:
        arguments = (encoder, store, ids, 3, schedule, rates, 4, state, "semi_supervised", "test")
        tuned = _finetune.finetune(*arguments)

    backbone = type(encoder)(encoder.config).backbone
    backbone.load_state_dict(encoder.backbone.state_dict())
    torch.manual_seed(4)
    head = nn.Linear(512, 3)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(backbone, head).train()
    momenta = [torch.zeros_like(p) for p in model.parameters()]
    for decay in (1.0, 0.5, 0.5):
        loss = nn.functional.cross_entropy(model(images), labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for (name, p), m, g in zip(model.named_parameters(), momenta, gradients, strict=True):
                m.mul_(0.9).add_(g)
                p.sub_(decay * (0.3 if name.startswith("1.") else 0.01) * m)
    assert tuned.loss == pytest.approx(loss.item(), rel=1e-4)
    torch.testing.assert_close(tuned.classifier.weight, head.weight, rtol=1e-3, atol=1e-5)
    for name, value in backbone.state_dict().items():  # averages of the batch norms, too
        torch.testing.assert_close(
            tuned.encoder.backbone.state_dict()[name], value, rtol=1e-3, atol=1e-5
        )
    assert not tuned.encoder.training


def test_without_labels_it_says_why(encoder):
    table = artifacts.read_parquet(MANIFEST, artifacts.MANIFEST, "prepare")
    none = table.set_column(2, "label", [np.full(len(table), -1, np.int32)])
    artifacts.write_parquet(MANIFEST, none, artifacts.MANIFEST)
    assert measure(encoder, Params()) == {"skipped": "no training image has a label"}


def test_defaults_are_swavs():
    assert Params().model_dump() == {
        "fractions": [
            {"share": 0.01, "lr": 0.02, "head_lr": 5.0},
            {"share": 0.1, "lr": 0.01, "head_lr": 0.2},
        ],
        "epochs": 20,
        "batch_size": 256,
        "milestones": [12, 16],
        "decay": 0.2,
        "weight_decay": 0.0,
    }
    assert metrics(Params())["semi_1_top1"] == "1 % of the labels, top-1"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"fractions": []}, "semi_supervised.fractions: "),
        ({"fractions": [{"share": 0.1, "lr": 1.0}]}, "semi_supervised.fractions.0.head_lr: is mis"),
        ({"fractions": [{"share": 2.0, "lr": 1.0, "head_lr": 1.0}]}, "fractions.0.share: 2.0: "),
        ({"fractions": [{"share": 0.1, "lr": 1.0, "head_lr": 1.0}] * 2}, "one is named twice"),
        ({"epoch": 3}, "semi_supervised.epoch: is not a parameter; check its spelling"),
    ],
)
def test_mistakes(block, said):
    with pytest.raises(ParamError) as error:
        validate(Path("evaluations.yaml"), Params, block, semi_supervised.SECTION)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
