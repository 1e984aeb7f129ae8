"""Timed steps: of the code that trains, few, and without a trace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.common.all_params import AllParams
from stages.common.params import load_all
from stages.recipe import clock, timing
from stages.recipe.choose import setting
from stages.recipe.clock import Clock
from stages.recipe.images import Images
from stages.recipe.leaves import params_text
from stages.recipe.plan import UNKNOWN, Network, Plan, Setting
from stages.recipe.timed import Timed
from stages.recipe.timing import Meter
from tests.conftest import write_recipe
from tests.recipe.made_plans import LAPTOP, images


class Base:
    def on_train_batch_end(self, *_: object) -> None:
        self.seen = getattr(self, "seen", 0) + 1


class Steps(Timed, Base):
    steps = 60


def test_a_training_ends_with_the_step_that_is_the_last_one_timed(monkeypatch):
    at(monkeypatch, 0.0, 6.0, 8.0)
    module = Steps(9.0)
    module.on_train_start()
    module.on_train_batch_end()
    assert (module.steps, module.seen) == (60, 1)
    module.on_train_batch_end()  # another would end at 10
    assert (module.steps, module.seen, module.watch.seconds) == (2, 2, 2.0)


def at(monkeypatch, *times: float) -> None:
    """The clock shows these."""
    now = iter(times)
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: next(now)))


def test_torch_is_loaded_once_more_if_there_is_time(monkeypatch):
    monkeypatch.setattr(timing, "DVC", 0)
    monkeypatch.setattr(timing, "_start", lambda imports, limit: (3.0, True))
    assert Meter(Clock(60), loading=10.0).starts == (3.0, 3.0)
    assert Meter(Clock(60), loading=50.0).starts == (3.0, 50.0)


def test_a_larger_network_is_timed_if_a_few_steps_of_it_fit():
    meter = Meter(Clock(60))
    assert meter.has_time
    meter.largest = 1.0
    assert meter.has_time
    meter.largest = 10.0
    assert not meter.has_time


def params_of(chosen: Setting, found: Images, folder: Path) -> AllParams:
    plan = Plan(found, LAPTOP, chosen, UNKNOWN, (0,), 2)
    return load_all(write_recipe(folder, params_text(plan)))


def test_without_any_time_one_step_of_each_is_timed(tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    monkeypatch.setattr(timing, "_start", lambda imports, limit: (limit, False))
    caplog.set_level("INFO", "stages.recipe")
    found = images(100, 90)
    chosen = setting(Network(16, "resnet10-w16", "imagenet"), found, LAPTOP)
    params = params_of(chosen, found, tmp_path)
    costs = Meter(Clock(0), loading=1.0).costs(params, chosen, found, LAPTOP)
    assert min(costs.step, costs.embed, costs.probe) > 0
    assert costs.heavy == 1
    told = [record.message for record in caplog.records if record.message.startswith("timed")]
    assert len(told) == 4  # the start, a step, embedding, the classifier
    assert sum("the first, for lack of time" in line for line in told) == 3
    assert "steps" not in capsys.readouterr().err  # no progress that stops part-way


@pytest.mark.slow
def test_all_costs_are_found_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    monkeypatch.setenv("SEPP_DEVICES", "2")
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(clock, "PATIENCE", 0.3)
    monkeypatch.setattr(timing, "_start", lambda imports, limit: (1.0, True))
    found = images(100, 90)
    meter, steps = Meter(Clock(60)), []
    for network in (
        Network(16, "resnet10-w16", "imagenet"),
        Network(64, "resnet10-w32", "imagenet"),
    ):
        chosen = setting(network, found, LAPTOP)
        costs = meter.costs(params_of(chosen, found, tmp_path), chosen, found, LAPTOP)
        assert (costs.light, costs.heavy) == (5.0, 5.0)
        assert min(costs) > 0
        assert costs.embed < costs.step
        steps.append(costs.step)
    assert steps[1] > 2 * steps[0]
    assert os.environ["SEPP_DEVICES"] == "2"
    assert {file.name for file in tmp_path.iterdir()} == {
        "params.yaml",
        "methods.yaml",
        "evaluations.yaml",
    }


def test_a_start_is_timed_in_a_process_of_its_own():
    seconds, ended = timing._start("import json", 60)
    assert ended
    assert 0 < seconds < 60
    with pytest.raises(subprocess.CalledProcessError):
        timing._start("import nowhere", 60)


def test_a_start_is_ended_at_its_limit():
    seconds, ended = timing._start("import time; time.sleep(600)", 0.5)
    assert not ended
    assert 0.5 <= seconds < 60
