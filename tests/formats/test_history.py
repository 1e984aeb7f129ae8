"""What is told of an encoder's making is that of these very weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from stages.common.cost import cost_path
from stages.formats._history import folder_digest, history, measured, reported
from tests.formats.lock import write_lock

METRICS, SUMMARY = "reports/metrics/linear_eval/sepp-1.json", "reports/summary.json"
FURTHER = "reports/metrics/evaluations/transfer/sepp-1.json"
COST = str(cost_path("linear_eval", "sepp-1"))  # which DVC lists first
COSTS = str(cost_path("evaluations", "transfer/sepp-1"))
FOUND = {"reported": [["digits_linear", "digits, linear"]], "digits_linear": 90.5}
RESULT = {"arm": "sepp", "seed": 1, "linear_top1": 81.0, "knn_top1": 75.0, "test_images": 680}
ARM = {"n": 2, "seeds": [0, 1], "top1": [80.5, 81.0]}


def write_json(path: str, value: object) -> str:
    """Its MD5."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(value))
    return hashlib.md5(Path(path).read_bytes()).hexdigest()


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """models/sepp-1 with an epoch that was left on its way, and what is recorded of it."""
    monkeypatch.chdir(tmp_path)
    model = Path("models/sepp-1")
    for file in ("config.json", "epoch-5/config.json"):
        write_json(f"{model}/{file}", {"file": file})
    summary = {
        "data": {"name": "characters", "train": 2040},
        "arms": {"sepp": ARM},
        "gain": {"sepp": {"linear": {"mean": 1.0}}},
        "pairs": {"count": 7},
    }
    stages = {
        "prepare": {"params": {"data.name": "characters"}, "outs": {"data/manifest.parquet": "a"}},
        "mine": {"params": {"sepp.min": 0.9}, "outs": {"data/pairs.parquet": "b"}},
        "explore": {"params": {"seed": 5}, "outs": {"data/explored": "c"}},
        "pretrain@sepp-0": {"outs": {"models/sepp-0": "d"}},
        "pretrain@sepp-1": {
            "deps": {"data/manifest.parquet": "a", "data/pairs.parquet": "b"},
            "params": {"pretrain.epochs": 40},
            "outs": {"models/sepp-1": folder_digest(model)},
        },
        "linear_eval@sepp-1": {
            "deps": {"models/sepp-1": folder_digest(model)},
            "outs": {COST: write_json(COST, {"cost": []}), METRICS: write_json(METRICS, RESULT)},
        },
        "evaluate@transfer-sepp-1": {
            "deps": {"models/sepp-1": folder_digest(model)},
            "outs": {COSTS: write_json(COSTS, {"cost": []}), FURTHER: write_json(FURTHER, FOUND)},
        },
        "evaluate@semi_supervised-sepp-1": {
            "deps": {"models/sepp-1": "of other weights"},
            "outs": {"reports/metrics/evaluations/semi_supervised/sepp-1.json": "e"},
        },
        "report": {"outs": {SUMMARY: write_json(SUMMARY, summary)}},
    }
    write_lock(Path("dvc.lock"), stages)
    return model


def test_params_are_those_of_all_stages_that_led_to_it(checkout):
    found = history(checkout)
    assert found.stage == "pretrain@sepp-1"
    assert found.params == {"data.name": "characters", "pretrain.epochs": 40, "sepp.min": 0.9}


def test_results_are_its_own(checkout):
    found = history(checkout)
    assert found.result == RESULT
    assert found.arm == ARM
    assert found.gain == {"linear": {"mean": 1.0}}
    assert found.pairs == {"count": 7}
    assert found.data["train"] == 2040
    assert found.further == {"transfer": FOUND}
    assert reported(FOUND) == [("digits, linear", 90.5)]
    (linear, knn) = measured(found.result)
    assert linear[:2] == ("linear classifier, top-1", 81.0)
    assert linear[2:] == pytest.approx((77.88, 83.78), abs=0.01)  # Wilson's
    assert knn[1] == 75.0


def test_an_encoder_is_known_by_its_content_and_not_by_its_name(checkout):
    shutil.copytree(checkout, "models/mine")
    assert history(Path("models/mine")) == history(checkout)
    Path("models/sepp-0").mkdir()
    write_json("models/sepp-0/config.json", {})
    assert history(Path("models/sepp-0")) is None
    write_json(f"{checkout}/config.json", {"another": "training"})
    assert history(checkout) is None


def test_one_that_was_left_on_the_way_has_no_results(checkout):
    found = history(checkout / "epoch-5")
    assert found.stage == history(checkout).stage
    assert (found.result, found.arm, found.gain, found.further) == (None, None, None, {})


def test_results_that_changed_since_are_not_told(checkout):
    write_json(SUMMARY, {"arms": {}})
    assert history(checkout).result == RESULT
    assert history(checkout).arm is None
    write_json(METRICS, {**RESULT, "linear_top1": 99.0})
    assert history(checkout).result is None
    Path(METRICS).unlink()
    assert history(checkout).result is None
    write_json(FURTHER, {**FOUND, "digits_linear": 99.0})
    assert history(checkout).further == {}


def test_without_a_lock_nothing_is_told(checkout):
    Path("dvc.lock").unlink()
    assert history(checkout) is None
