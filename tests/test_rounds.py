"""Rounds under DVC: pairs are mined again on the way; a later round leaves earlier ones alone."""

from __future__ import annotations

import json

import pytest

from tests.conftest import write_params
from tests.test_pipeline import SMALL, Checkout

pytestmark = pytest.mark.slow

ROUNDS = [
    {"name": "round2", "start": "sepp", "at": 2, "sepp": {"pairs_per_image": 0.5}},
    {"name": "round3", "start": "round2", "at": 3, "sepp": {}},
]
CHANGES = {**SMALL, "pretrain.epochs": 4, "pretrain.handover": [2, 3], "rounds": ROUNDS}
STAGES = ("embed", "mine", "combine", "pretrain", "linear_eval")


def stages_of(*rounds: int) -> set[str]:
    """The stages of rounds by their place in params.yaml, by which DVC calls them."""
    return {f"{stage}_again@round{place}-0" for stage in STAGES for place in rounds}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("rounds"), CHANGES)
    assert stages_of(0, 1) <= set(checkout.ran("repro"))
    checkout.commit("first results")
    return checkout


def test_each_round_mines_with_what_the_one_before_had_become(checkout):
    summary = checkout.metric("summary")
    assert list(summary["arms"]) == ["vanilla", "sepp", "round2", "round3"]
    assert set(summary["gain"]) == {"sepp", "round2", "round3"}
    seen = {(arm["steps"], arm["rows_seen"], arm["epochs"]) for arm in summary["arms"].values()}
    assert len(seen) == 1  # what they continue included
    assert not summary["sampler"]["continued"]
    assert {gain["steps"] for gain in summary["gain"].values()} == {1}
    rounds = summary["rounds"]
    assert [rounds[name]["at"] for name in rounds] == [2, 3]
    assert rounds["round2"]["count"] == 60  # half of K = 150, capped
    configs = {
        name: json.loads((checkout.folder / f"models/{name}/config.json").read_text())["training"]
        for name in ("sepp-0", "sepp-0/epoch-2", "round2-0", "round2-0/epoch-3")
    }
    half = configs["sepp-0"]["steps"] // 2
    assert [config["steps"] for config in configs.values()] == [2 * half, half, half, half // 2]
    assert [config["steps_before"] for config in configs.values()] == [0, 0, half, half]
    page = (checkout.folder / "reports/index.html").read_text()
    assert "Round by round" in page
    said = " ".join(checkout.sepp_summary().split())
    assert "round3, mined again after epoch 3, with what round2 had become" in said
    graph = checkout.dvc("dag", "--mermaid")
    assert "pretrain_again@round1-0" in graph


def test_nothing_runs_twice(checkout):
    assert checkout.ran("repro") == []
    assert "nothing to commit" in checkout.run("git", "status")


def test_a_threshold_of_the_last_round_reruns_that_round_alone(checkout):
    rounds = [ROUNDS[0], {**ROUNDS[1], "sepp": {"pairs_per_image": 0.3}}]
    write_params(checkout.folder / "params.yaml", {**CHANGES, "rounds": rounds})
    ran = set(checkout.ran("repro"))
    assert ran == stages_of(1) - {"embed_again@round1-0"} | {"report"}
    assert checkout.metric("summary")["rounds"]["round3"]["count"] == 45
    write_params(checkout.folder / "params.yaml", CHANGES)
    assert checkout.ran("repro") == []  # all from the cache


def test_a_threshold_of_the_first_round_is_that_of_the_later_ones_too(checkout):
    rounds = [{**ROUNDS[0], "sepp": {"pairs_per_image": 0.3}}, ROUNDS[1]]
    write_params(checkout.folder / "params.yaml", {**CHANGES, "rounds": rounds})
    stale = json.loads(checkout.dvc("status", "--json"))
    assert {stage for stage in stale if "_again" in stage} == {"mine_again@round0-0"}
    # What comes of it is what the next round starts from.
    graph = checkout.dvc("dag", "--dot", "linear_eval_again@round1-0")
    assert '"pretrain_again@round0-0" -> "embed_again@round1-0"' in graph
    assert '"mine_again@round0-0" -> "combine_again@round0-0"' in graph


def test_an_evaluation_that_is_added_trains_nothing_anew(checkout):
    """Of rounds, too; and what it reads from outside is looked at each time."""
    block = {"datasets": ["digits"], "finetune": False, "iterations": 5}
    added = {**CHANGES, "evaluations": ["transfer"], "transfer": block}
    write_params(checkout.folder / "params.yaml", added)
    arms = {f"evaluate@transfer-{arm}-0" for arm in ("vanilla", "sepp")}
    rounds = {f"evaluate_again@transfer-round{place}-0" for place in (0, 1)}
    source = "evaluation_source@transfer"
    assert set(checkout.ran("repro")) == {source, *arms, *rounds, "report"}
    found = checkout.metric("summary")["evaluations"]["transfer"]
    assert set(found["arms"]) == {"vanilla", "sepp", "round2", "round3"}
    assert found["gain"]["round3"]["digits_linear"]["n"] == 1
    said = checkout.sepp_summary()
    assert "digits, linear, top-1" in said
    assert "NOTE" not in said
    assert checkout.ran("repro") == [source]
    write_params(checkout.folder / "params.yaml", CHANGES)
    assert checkout.ran("repro") == ["report"]
    assert checkout.metric("summary")["evaluations"] == {}
