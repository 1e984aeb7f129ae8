"""A training that continues another one: as if it had never stopped."""

from pathlib import Path

import pytest
import torch

from stages.common.errors import CheckpointError, ParamError
from stages.common.images import ImageStore
from stages.common.params import left_by, load_all
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


@pytest.mark.parametrize("name", METHODS)
def test_a_round_goes_on_from_where_an_arm_was(folder, name):
    """What is left on the way is what a training that stopped there would hand over, and going on
    from it with the same rows is the rest of the training. Rows that no other epoch divides."""
    whole, history = train_tiny(name, 4, rows=rows(), leave_at=(1, 2), to=folder / "models/sepp-0")
    train_tiny(name, 2, rows=rows(), of_epochs=4, to=folder / "models/half")
    left = folder / "models/sepp-0/epoch-2"
    for file in (HANDOVER, "model.safetensors"):
        assert (left / file).read_bytes() == (folder / "models/half" / file).read_bytes()
    again, after = train_tiny(
        name, 4, rows=rows(), continues=left, leave_at=(1, 2, 3), to=folder / "models/again"
    )
    assert history[2:] == after
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    found = sorted(f.name for f in (folder / "models").glob("*/epoch-*"))
    assert found == ["epoch-1", "epoch-2", "epoch-3"]  # each once: those that lie ahead


def test_nothing_to_continue_is_said(folder):
    train_tiny("moco", 1, rows=rows())[0].save(folder / "models/sampler")
    with pytest.raises(CheckpointError, match=r"no training to continue .*sampler\.of_epochs"):
        train_tiny("moco", 2, continues=folder / "models/sampler")
    train_tiny("moco", 1, rows=rows(), of_epochs=2)[0].save(folder / "models/sampler")
    with pytest.raises(CheckpointError, match="weights do not fit"):
        train_tiny("byol", 2, continues=folder / "models/sampler")


ROUND = {"name": "round2", "start": "sepp", "at": 2, "sepp": {}}


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        ([{"at": 5}], r"at is 5, but pretrain.handover \[2, 3\]: add the epoch"),
        ([{"start": "vanilla"}], "start is vanilla: needs to be sepp, .* there are sepp"),
        ([{}, {}], r"rounds\[1\].name is round2, which is taken"),
        ([{"name": "oracle"}], "which is taken"),
        ([{}, {"name": "round3", "start": "round2"}], "above 2, where round2 begins"),
        ([{}, {"name": "round3", "start": "round4", "at": 3}], "there are sepp, round2"),
        ([{"sepp": {"min": 0.999}}], r"rounds\[0\].sepp.*min 0.999 is above max"),
        ([{"sepp": {"minimum": 0.9}}], r"rounds.0.sepp.minimum: is not a parameter"),
        ([{"name": "../x"}], r"rounds.0.name: '../x'"),
    ],
)
def test_rounds_that_cannot_be_are_refused(tmp_path, rounds, message):
    base = {"pretrain.epochs": 5, "pretrain.handover": [2, 3], "sepp.max": 0.99}
    good = [ROUND, {**ROUND, "name": "round3", "start": "round2", "at": 3}]
    load_all(write_params(tmp_path / "good.yaml", {**base, "rounds": good}))
    bad = [{**ROUND, **changes} for changes in rounds]
    with pytest.raises(ParamError, match=message):
        load_all(write_params(tmp_path / "params.yaml", {**base, "rounds": bad}))


START = {"pretrain.start": "sampler", "sampler.of_epochs": 5, "sampler.epochs": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sampler.checkpoint": "x.pt", "watch": ["sampler"]},
            "sampler.checkpoint cannot be continued",
        ),
        (
            {"pretrain.weights": "x.pt", "watch": ["pretrain"]},
            "pretrain.weights is x.pt, but pretrain.start is sampler, .* pretrain.start to scratch",
        ),
        ({"pretrain.batch_size": 32}, "pretrain.batch_size is 32, .* whose is 64: set both alike"),
        ({"pretrain.method": "byol"}, "pretrain.method is byol, .* whose is moco"),
        ({"pretrain.match_steps": False}, "start is sampler, .* set it to true, or pretrain.start"),
        (
            {"pretrain.match_steps": False, "pretrain.start": "scratch", "rounds": [ROUND]},
            r"there are rounds, .* set it to true, or rounds to \[\]",
        ),
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


@pytest.mark.parametrize(
    ("arm", "epochs"), [("sepp", [2, 3]), ("round2", [2, 3]), ("vanilla", []), ("oracle", [])]
)
def test_a_state_is_left_where_a_round_may_go_on(tmp_path, arm, epochs):
    changes = {"pretrain.epochs": 5, "pretrain.handover": [2, 3]}
    pretrain = load_all(write_params(tmp_path / "params.yaml", changes)).pretrain
    assert left_by(arm, pretrain) == epochs
