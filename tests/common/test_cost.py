"""What a stage costs, and that it adds up over the sessions of a training."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stages.common import cost
from stages.common.cost import Cost, cost_path, device, facts_of, measured


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """A clock that the test winds."""
    made = SimpleNamespace(now=100.0)
    monkeypatch.setattr(cost.time, "monotonic", lambda: made.now)
    return made


def test_seconds_images_and_device(tmp_path, clock):
    path = tmp_path / "cost/mine.json"
    with measured(path) as spent:
        clock.now += 4
        spent.images = 160
    told = facts_of(path.read_text())
    assert (told["seconds"], told["images"], told["images_per_second"]) == (4, 160, 40)
    assert told["device"] == device()
    assert re.search(r", (1 core|\d+ cores)$", told["device"])
    assert told["sessions"] == 1
    assert told["peak_gpu_memory_mib"] is None


def test_a_stage_that_looks_at_no_image_has_no_rate(tmp_path):
    with measured(tmp_path / "x.json"):
        pass
    told = facts_of((tmp_path / "x.json").read_text())
    assert (told["images"], told["images_per_second"]) == (None, None)


def test_the_peak_holds_what_was_let_go(tmp_path):
    with measured(tmp_path / "x.json"):
        np.ones(100 * 2**20, np.uint8).sum()
    before = facts_of((tmp_path / "x.json").read_text())["peak_memory_mib"]
    assert before > 100
    with measured(tmp_path / "x.json"):
        pass
    assert facts_of((tmp_path / "x.json").read_text())["peak_memory_mib"] >= before


def test_what_fails_has_no_cost(tmp_path):
    with pytest.raises(ZeroDivisionError), measured(tmp_path / "x.json"):
        _ = 1 / 0
    assert not (tmp_path / "x.json").exists()


def test_a_resumed_training_costs_what_its_sessions_did(tmp_path, clock):
    kept = tmp_path / "state/cost.json"
    killed = Cost(kept)
    clock.now += 10
    killed.keep()
    clock.now += 5  # lost with the steps that were not saved
    resumed = Cost(kept)
    clock.now += 20
    resumed.images = 150
    resumed.write(tmp_path / "x.json")
    told = facts_of((tmp_path / "x.json").read_text())
    assert (told["seconds"], told["images"], told["sessions"]) == (30, 150, 2)
    assert told["images_per_second"] == 5


def test_of_several_processes_the_first_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    Cost(tmp_path / "kept.json").keep()
    with measured(tmp_path / "x.json"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_was_used_is_named(monkeypatch):
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        get_device_name=lambda: "NVIDIA H100",
        max_memory_allocated=lambda: 3 * 2**20,
    )
    single = SimpleNamespace(is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, distributed=single))
    assert device() == "NVIDIA H100"
    assert Cost().facts()["peak_gpu_memory_mib"] == 3
    several = SimpleNamespace(is_initialized=lambda: True, get_world_size=lambda: 8)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, distributed=several))
    assert device() == "8 x NVIDIA H100"
    unused = SimpleNamespace(is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=unused, distributed=single))
    assert re.search(r", (1 core|\d+ cores)$", device())


def test_dvc_leaves_it_out_of_its_differences(tmp_path):
    """Whose rows are numbers by name: there it would bury the results."""
    with measured(tmp_path / "x.json"):
        pass
    told = json.loads((tmp_path / "x.json").read_text())
    assert {type(value) for value in told.values()} == {list}


def test_where_it_is():
    assert cost_path("sampler") == Path("reports/metrics/cost/sampler.json")
    assert cost_path("pretrain", "sepp-0") == Path("reports/metrics/cost/pretrain/sepp-0.json")
