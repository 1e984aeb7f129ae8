"""Which of a method's networks a training leaves behind."""

from __future__ import annotations

import pytest
import torch

from stages.ssl.pretraining import Pretraining
from tests.ssl.tiny import METHODS, move, new
from tests.ssl.training import train_tiny, use_tiny_backbone, write_project

TEACHERS = ("dino",)  # whose authors evaluate the moving average


@pytest.mark.parametrize("name", METHODS)
def test_the_trained_encoder_is_kept_unless_the_authors_keep_the_teacher(name):
    model = new(name)
    move(model)
    expected = model.teacher.average[:2] if name in TEACHERS else (model.backbone, model.projection)
    assert [id(module) for module in model.kept()] == [id(module) for module in expected]


def test_dinos_teacher_is_not_its_student():
    model = new("dino")
    move(model)
    kept = [p for module in model.kept() for p in module.parameters()]
    trained = [p for m in (model.backbone, model.projection) for p in m.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(kept, trained, strict=True))


@pytest.mark.parametrize("name", ["dino", "byol"])
def test_an_export_has_the_weights_and_statistics_of_what_is_kept(tmp_path, monkeypatch, name):
    """The encoder that the sampler embeds with and that is evaluated."""
    use_tiny_backbone(monkeypatch.setattr)
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / ".state"))
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    methods = []
    ended = Pretraining.on_train_batch_end

    def note(self, *arguments):
        methods[:] = [self.method]
        ended(self, *arguments)

    monkeypatch.setattr(Pretraining, "on_train_batch_end", note)
    encoder, _ = train_tiny(name, 2, tmp_path, momentum=0.9)
    (method,) = methods
    kept = method.teacher.average if name in TEACHERS else (method.backbone, method.projection)
    for ours, theirs in zip((encoder.backbone, encoder.projection), kept, strict=False):
        for key, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[key], value), key
