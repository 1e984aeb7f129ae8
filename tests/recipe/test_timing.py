"""Timed steps: of the code that trains, few, and without a trace."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest

from stages.common.params import load_all
from stages.recipe import timing
from stages.recipe.choose import setting
from stages.recipe.leaves import params_text
from stages.recipe.plan import UNKNOWN, Network, Plan
from stages.recipe.timing import Meter, Timed
from tests.recipe.made_plans import LAPTOP, images


class Base:
    def on_train_batch_end(self, *_: object) -> None:
        self.seen = getattr(self, "seen", 0) + 1


class Steps(Timed, Base):
    steps = 60


def test_a_step_is_timed_without_the_first_ones(monkeypatch):
    module, now = Steps(), iter([0.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0])
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    monkeypatch.setattr(timing, "PATIENCE", 100.0)
    for _ in range(8):
        module.on_train_batch_end()
    assert module.seconds == 1.0  # the second took five times as long
    assert (module.steps, module.seen) == (60, 8)


def test_it_ends_when_it_has_been_timed_for_long_enough(monkeypatch):
    module, now = Steps(), iter([0.0, 30.0, 60.0])
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    module.on_train_batch_end()
    module.on_train_batch_end()
    assert module.steps == 60  # one step tells too little
    module.on_train_batch_end()
    assert module.steps == 3
    assert module.seconds == 30.0


@pytest.mark.slow
def test_all_costs_are_found_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    monkeypatch.setenv("SEPP_DEVICES", "2")
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(timing, "PATIENCE", 0.3)
    monkeypatch.setattr(timing, "_start", lambda imports: 1.0)
    found = images(100, 90)
    meter, steps = Meter(), []
    for network in (
        Network(16, "resnet10-w16", "imagenet"),
        Network(64, "resnet10-w32", "imagenet"),
    ):
        chosen = setting(network, found, LAPTOP)
        (tmp_path / "params.yaml").write_text(
            params_text(Plan(found, LAPTOP, chosen, UNKNOWN, (0,), 2))
        )
        costs = meter.costs(load_all(tmp_path / "params.yaml"), chosen, found, LAPTOP)
        assert (costs.light, costs.heavy) == (5.0, 5.0)
        assert min(costs) > 0
        assert costs.embed < costs.step
        steps.append(costs.step)
    assert steps[1] > 2 * steps[0]
    assert os.environ["SEPP_DEVICES"] == "2"
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]


def test_a_start_is_timed_in_a_process_of_its_own():
    assert 0 < timing._start("import json") < 60
    with pytest.raises(subprocess.CalledProcessError):
        timing._start("import nowhere")
