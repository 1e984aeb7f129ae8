"""What is found of a study's experiments, and the table that it makes."""

from __future__ import annotations

import json

import pytest
from filelock import FileLock

from stages.common.cost import cost_path
from stages.reporting.statistics import paired_gain
from stages.study import claims
from stages.study.job import failure_of
from stages.study.results import DONE, FAILED, OTHER_CODE, RUNNING, WAITING, outcomes
from stages.study.table import ANY, lines, spent
from tests.comparison.checkout import summary
from tests.study.conftest import made


def states(plan) -> list[str]:
    return [outcome.state for outcome in outcomes(plan)]


def cells(plan) -> dict[tuple[str, str], dict]:
    return {(line.labels["sepp.min"], line.arm): line.cells for line in lines(plan, outcomes(plan))}


def of(plan, row: str, seed: int) -> str:
    """The name of an experiment."""
    return next(one.name for one in plan.experiments if (one.row, one.seed) == (row, seed))


def test_what_has_not_run_is_there_and_empty(checkout):
    plan = made()
    assert states(plan) == [WAITING] * 6
    found = cells(plan)
    # Vanilla is the same whatever the threshold, so it is there once.
    assert list(found) == [(ANY, "vanilla"), ("0.9", "sepp"), ("0.95", "sepp")]
    empty = found["0.9", "sepp"]["linear"]
    assert empty.measured is None
    assert empty.seeds == {}
    assert (empty.paper, empty.paper_gain) == (72.5, 2.5)
    assert found[ANY, "vanilla"]["linear"].paper == 70
    assert [line.states for line in lines(plan, outcomes(plan))] == [[WAITING]] * 3


def test_states(checkout):
    plan = made()
    names = [one.name for one in plan.experiments]
    checkout.experiment(names[0], summary(seeds=1))
    checkout.experiment(names[1], None)
    failure_of(names[2]).parent.mkdir(parents=True)
    failure_of(names[2]).write_text("it is broken")
    (claims.FOLDER / "locks").mkdir()
    with FileLock(claims.experiment_lock(names[3])):
        assert states(plan) == [DONE, FAILED, FAILED, RUNNING, WAITING, WAITING]
    assert states(plan)[3] == WAITING
    assert [outcome.note for outcome in outcomes(plan)][1:3] == [
        "has no reports/summary.json",
        "it is broken",
    ]


def test_mean_interval_and_paired_gains(checkout):
    """Gains are each seed's own, so that what seeds have in common does not count."""
    plan = made()
    for seed, (base, gain) in enumerate([(60, 1.0), (70, 2.0), (80, 3.0)]):
        result = summary(100, 0.8, gain, seeds=1)
        result["arms"]["vanilla"]["top1"] = [base]
        result["arms"]["sepp"]["top1"] = [base + gain]
        checkout.experiment(of(plan, "0.9", seed), result)
    found = cells(plan)
    linear = found["0.9", "sepp"]["linear"]
    assert linear.seeds == {0: 61.0, 1: 72.0, 2: 83.0}
    assert linear.measured.mean == pytest.approx(72)
    assert linear.gain.mean == pytest.approx(2)
    half = 4.302653 / 3**0.5  # t of 2 degrees of freedom, times the standard error
    assert linear.gain.low == pytest.approx(2 - half, abs=1e-4)
    assert linear.gain.high == pytest.approx(2 + half, abs=1e-4)
    assert found[ANY, "vanilla"]["linear"].gain is None
    assert found[ANY, "vanilla"]["pairs"].seeds == {0: 0, 1: 0, 2: 0}
    assert found["0.9", "sepp"]["pairs"].measured.mean == 100
    assert found["0.9", "sepp"]["accuracy"].measured.mean == pytest.approx(80)
    assert found["0.9", "sepp"]["hours"].measured is None  # not recorded
    assert found["0.95", "sepp"]["linear"].measured is None


def test_p_is_holms_over_the_table(checkout):
    plan = made()
    for row in ("0.9", "0.95"):
        for seed in range(3):
            result = summary(100, 0.8, 1.0, seeds=1)
            result["arms"]["sepp"]["top1"] = [78 + 2 + seed / 10]
            checkout.experiment(of(plan, row, seed), result)
    gains = [cells(plan)[row, "sepp"]["linear"].gain for row in ("0.9", "0.95")]
    assert gains[0].p == gains[1].p == pytest.approx(2 * paired_gain([2.0, 2.1, 2.2]).p)


def test_results_of_other_code_are_shown_and_named(checkout, write):
    plan = made()
    checkout.experiment(of(plan, "0.9", 0), summary(seeds=1))
    checkout.commit(summary(), seed=5)  # without a dvc.yaml any other commit is other code
    checkout.experiment(of(plan, "0.9", 1), summary(seeds=1))
    first, _, second, *_ = outcomes(plan)
    assert (first.state, second.state) == (OTHER_CODE, DONE)
    assert first.note.startswith("of the code of ")
    line = next(line for line in lines(plan, outcomes(plan)) if line.labels["sepp.min"] == "0.9")
    assert len(line.commits) == 2
    assert any(state.startswith("of the code of ") for state in line.states)
    # Run again, the new one counts.
    checkout.experiment(of(plan, "0.9", 0), summary(seeds=1))
    assert outcomes(plan)[0].state == DONE


COST = {
    "seconds": 1800.0, "images": 100, "images_per_second": 1.0, "device": "a GPU",
    "peak_memory_mib": 500, "peak_gpu_memory_mib": None, "sessions": 1,
}  # fmt: skip


def test_costs_are_what_the_stages_recorded(checkout, write):
    """Of what two experiments share, each holds the same file: it is counted once."""
    plan = made()
    for row, seconds in (("0.9", 3600.0), ("0.95", 7200.0)):
        for stage in ("sampler", "embed", "mine"):
            write(str(cost_path(stage)), json.dumps({"cost": [COST]}))
        write(str(cost_path("pretrain", "vanilla-0")), json.dumps({"cost": [COST]}))
        own = {**COST, "seconds": seconds, "peak_memory_mib": 700}
        write(str(cost_path("pretrain", "sepp-0")), json.dumps({"cost": [own]}))
        checkout.experiment(of(plan, row, 0), summary(seeds=1))
    found = cells(plan)
    assert found["0.9", "sepp"]["hours"].seeds == {0: 1 + 0.5 + 0.5}  # embed and mine
    assert found["0.95", "sepp"]["hours"].seeds == {0: 2 + 0.5 + 0.5}
    assert found[ANY, "vanilla"]["hours"].seeds == {0: 0.5}
    total = spent(outcomes(plan))
    assert total.hours == pytest.approx(4 * 0.5 + 1 + 2)
    assert (total.devices, total.peak_mib) == (["a GPU"], 700)
    assert spent([]) is None


def test_further_evaluations_cost_too(checkout, write):
    plan = made(set={"evaluations": ["transfer"]})
    write(str(cost_path("evaluations", "transfer/sepp-0")), json.dumps({"cost": [COST]}))
    checkout.experiment(of(plan, "0.9", 0), summary(seeds=1))
    assert spent(outcomes(plan)).hours == 0.5


def test_of_pairs_alone_no_report_is_paid_for(checkout, write):
    """Git has the cost of HEAD's own report, which an experiment begins with."""
    plan = made(until="mine", columns=["pairs"], paper=None)
    for stage in ("mine", "explore", "report"):
        write(str(cost_path(stage)), json.dumps({"cost": [COST]}))
    write("reports/metrics/mine.json", json.dumps({"count": 7, "accuracy": 0.5}))
    checkout.experiment(of(plan, "0.9", 0), None)
    assert spent(outcomes(plan)).hours == 0.5


def test_an_arm_of_several_rows_is_of_one_that_has_this_code(checkout):
    plan = made()
    old = summary(seeds=1)
    old["arms"]["vanilla"]["top1"] = [11.0]
    checkout.experiment(of(plan, "0.9", 0), old)
    checkout.commit(summary(), seed=5)  # other code
    checkout.experiment(of(plan, "0.95", 0), summary(seeds=1))
    assert cells(plan)[ANY, "vanilla"]["linear"].seeds != {0: 11.0}


def test_pairs_alone(checkout, write):
    """A study that stops at the pairs: no arms, and no report."""
    plan = made(
        until="mine",
        grid={"sampler.method": ["moco", "nnclr"]},
        seeds=[0],
        columns=["pairs", "accuracy", "neighbours"],
        paper={"source": "T", "values": {"accuracy": {"moco": 92.03}, "neighbours": {"nnclr": 57}}},
    )
    write("reports/metrics/mine.json", json.dumps({"count": 7, "accuracy": 0.5}))
    write("reports/plots/sampler.csv", "epoch,loss,neighbour_accuracy\n1,2.0,0.1\n2,1.0,0.25\n")
    checkout.experiment(of(plan, "nnclr", 0), None)
    first, second = lines(plan, outcomes(plan))
    assert (first.arm, second.arm) == (None, None)
    assert first.cells["accuracy"].paper == 92.03
    assert {name: cell.seeds for name, cell in second.cells.items()} == {
        "pairs": {0: 7}, "accuracy": {0: 50}, "neighbours": {0: 25},
    }  # fmt: skip
    assert second.cells["neighbours"].paper == 57


def test_rounds_are_arms_with_pairs_of_their_own(checkout):
    rounds = [{"name": "round2", "start": "sepp", "at": 3, "sepp": {}}]
    plan = made(set={"pretrain.handover": [3], "rounds": rounds}, seeds=[0], paper=None)
    result = summary(seeds=1)
    result["arms"]["round2"] = {**result["arms"]["sepp"], "top1": [80.0]}
    result["rounds"] = {"round2": {"count": 12, "accuracy": 0.9, "anchors_covered": 3}}
    checkout.experiment(of(plan, "0.9", 0), result)
    cell = cells(plan)["0.9", "round2"]
    assert cell["pairs"].seeds == {0: 12}
    assert cell["linear"].gain.mean == pytest.approx(80 - result["arms"]["vanilla"]["top1"][0])


def test_an_arm_that_several_rows_share_is_taken_from_one_that_ran(checkout):
    plan = made(seeds=[0])
    checkout.experiment(of(plan, "0.95", 0), summary(seeds=1))
    assert cells(plan)[ANY, "vanilla"]["linear"].seeds == {0: 78.0}
    assert cells(plan)["0.9", "sepp"]["linear"].seeds == {}


def test_what_only_the_evaluation_tells_apart_is_not_taken_for_the_same(checkout):
    plan = made(grid={"linear_eval.lr": [1.0, 10.0]}, paper=None)
    told = [(line.labels["linear_eval.lr"], line.arm) for line in lines(plan, outcomes(plan))]
    assert told == [(lr, arm) for lr in ("1.0", "10.0") for arm in ("vanilla", "sepp")]
    plan = made(grid={"embed.k": [0.1, 0.5]}, until="mine", columns=["pairs"], paper=None)
    assert len(lines(plan, outcomes(plan))) == 2  # of one sampler
