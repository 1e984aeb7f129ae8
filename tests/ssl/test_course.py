"""A training that continues another one: as if it had never stopped."""

from pathlib import Path

import pytest
import torch

from stages.common.errors import CheckpointError, ParamError
from stages.common.images import ImageStore
from stages.common.params import load_all
from stages.ssl.batches import instance_rows
from stages.ssl.course import HANDOVER
from tests.conftest import write_params
from tests.ssl.tiny import METHODS
from tests.ssl.training import train_tiny, use_tiny_backbone, write_project


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    use_tiny_backbone(monkeypatch.setattr)
    write_project(tmp_path)
    return tmp_path


def rows():
    store = ImageStore(Path("data/manifest.parquet"), Path("data/images.npy"))
    return instance_rows(store.select("train"))


@pytest.mark.parametrize("name", METHODS)
def test_two_halves_are_the_whole_bit_for_bit(folder, name):
    """Weights, moving averages, queues, momentum, schedules, order and views."""
    whole, history = train_tiny(name, 4, rows=rows())
    first, before = train_tiny(name, 2, rows=rows(), of_epochs=4)
    first.save(folder / "models/sampler")
    second, after = train_tiny(name, 4, rows=rows(), continues=folder / "models/sampler")
    assert before + after == history
    for key, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    assert whole.handover is second.handover is None
    facts = second.config.training
    assert (facts["steps"], facts["steps_before"]) == (6, 6)


def test_extra_rows_come_from_there_on(folder):
    """Epochs go on where the first training came to."""
    first, _ = train_tiny("moco", 2, rows=rows(), of_epochs=4)
    first.save(folder / "models/sampler")
    more, history = train_tiny("moco", 4, continues=folder / "models/sampler")
    assert more.config.training["steps"] == 2 * (64 // 16)
    assert [row["epoch"] for row in history] == [3, 4]
    assert history[-1]["pair_accuracy"] is not None


def test_the_file_is_the_same_every_time(folder):
    for name in ("a", "b"):
        train_tiny("moco", 1, rows=rows(), of_epochs=3)[0].save(folder / name)
    assert (folder / "a" / HANDOVER).read_bytes() == (folder / "b" / HANDOVER).read_bytes()


def test_nothing_to_continue_is_said(folder):
    train_tiny("moco", 1, rows=rows())[0].save(folder / "models/sampler")
    with pytest.raises(CheckpointError, match=r"no training to continue .*sampler\.of_epochs"):
        train_tiny("moco", 2, continues=folder / "models/sampler")
    train_tiny("moco", 1, rows=rows(), of_epochs=2)[0].save(folder / "models/sampler")
    with pytest.raises(CheckpointError, match="weights do not fit"):
        train_tiny("byol", 2, continues=folder / "models/sampler")


START = {"pretrain.start": "sampler", "sampler.of_epochs": 5, "sampler.epochs": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler.checkpoint": "x.pt"}, "sampler.checkpoint cannot be continued"),
        ({"pretrain.batch_size": 32}, "pretrain.batch_size is 32, .* whose is 64: set both alike"),
        ({"pretrain.method": "byol"}, "pretrain.method is byol, .* whose is moco"),
        ({"pretrain.match_steps": False}, "match_steps is false, .* set it to true"),
        ({"pretrain.epochs": 6}, "pretrain.epochs is 6, .* 2 of sampler.of_epochs 5: set"),
        ({"sampler.epochs": 5}, "sampler.epochs below both"),
        ({"sampler.epochs": 9}, "of_epochs 5 is below epochs 9: raise it"),
    ],
)
def test_what_cannot_go_on_as_one_training_is_refused(tmp_path, changes, message):
    base = {"pretrain.epochs": 5, **START}
    load_all(write_params(tmp_path / "good.yaml", base))
    with pytest.raises(ParamError, match=message):
        load_all(write_params(tmp_path / "params.yaml", {**base, **changes}))
