"""What is said of the numbers, and the table on stdout."""

import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from stages.reporting.summary import summarise
from stages.reporting.table import print_summary
from stages.reporting.words import (
    cost,
    headline,
    plus_minus,
    sensitivity,
    shares,
    signed,
    verdict,
    whole_percent,
)

DATA = {"name": "digits", "train": 1437, "test": 360, "classes": 10}
MINING = {
    "count": 1234, "accuracy": 0.915, "accuracy_low": 0.88, "accuracy_high": 0.94,
    "chance": 0.1, "anchors_covered": 456, "images": 1437,
}  # fmt: skip


def runs(steps: dict[str, int] | None = None, **scores: list[float]) -> dict:
    return {
        arm: [
            {
                "seed": s, "linear_top1": v, "knn_top1": v - 1, "test_images": 360,
                "steps": (steps or {}).get(arm, 100),
            }
            for s, v in enumerate(values)
        ]
        for arm, values in scores.items()
    }  # fmt: skip


def summary_of(steps=None, mining=MINING, **scores) -> dict:
    return summarise(DATA, mining, runs(steps, **scores))


def printed(summary: dict, **more) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        print_summary(summary, Path("reports/index.html"), **more)
    return stream.getvalue()


def flowing(text: str) -> str:
    return " ".join(text.split())


def test_a_gain_is_of_pairs_and_has_an_interval():
    # The seeds of vanilla lie far apart, their differences to sepp do not.
    summary = summary_of(vanilla=[80.0, 90.0, 85.0], sepp=[82.0, 92.1, 86.9])
    gain = summary["gain"]["sepp"]["linear"]
    assert gain["differences"] == pytest.approx([2.0, 2.1, 1.9])
    assert gain["mean"] == pytest.approx(2.0)
    half = 4.302653 * 0.1 / 3**0.5
    assert (gain["low"], gain["high"]) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert gain["n"] == 3
    assert "raised linear top-1 by 2.00 points" in headline(summary)
    assert "95 % interval +1.75 to +2.25; p < 0.001, 3 paired seeds" in headline(summary).replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert sensitivity(gain) is None


def test_holm_is_over_the_arms_compared():
    alone = summary_of(vanilla=[80.0, 81.0, 82.0], sepp=[80.5, 82.0, 82.3])
    beside = summary_of(
        vanilla=[80.0, 81.0, 82.0], sepp=[80.5, 82.0, 82.3], random=[80.3, 80.5, 82.1]
    )
    one, two = (s["gain"]["sepp"]["linear"] for s in (alone, beside))
    assert two["p"] == pytest.approx(2 * one["p"], abs=1e-5)
    assert (two["low"], two["high"]) == (one["low"], one["high"])


@pytest.mark.parametrize("sepp", [[90.5, 93.5], [89.5, 90.9], [90.0, 90.5]])
def test_a_gain_within_chance_says_what_it_would_take(sepp):
    gain = summary_of(vanilla=[90.0, 91.0], sepp=sepp)["gain"]["sepp"]["linear"]
    assert verdict(gain).startswith("not significant at 5 %")
    assert "2 seeds that vary as these do find a true difference of" in sensitivity(gain)
    assert sensitivity(gain).endswith("seeds, as far as 2 seeds tell how much they vary")


def test_one_seed_and_equal_differences_have_no_interval():
    one = summary_of(vanilla=[90.0], sepp=[91.0])["gain"]["sepp"]["linear"]
    assert verdict(one) == "one seed, so no interval: this may be chance"
    two = summary_of(vanilla=[90.0, 91.0], sepp=[91.0, 92.0])["gain"]["sepp"]["linear"]
    assert "no interval" in verdict(two)
    assert sensitivity(one) is sensitivity(two) is None


def test_more_steps_are_marked_in_the_headline():
    scores = {"vanilla": [90.0, 91.0], "sepp": [93.0, 94.5]}
    summary = summary_of(steps={"sepp": 2800}, **scores)
    assert headline(summary).startswith("Training on 1,234 semantic pairs (x 28 steps)")
    assert summary["gain"]["sepp"]["steps"] == 28
    assert "steps)" not in headline(summary_of(**scores))


def test_the_headline_is_about_sepp_whatever_the_order():
    summary = summary_of(random=[80.0], sepp=[89.0], vanilla=[90.0])
    assert headline(summary).startswith(
        "Training on 1,234 semantic pairs: 89.00\N{NO-BREAK SPACE}% linear top-1, −1.00 points"
    )


def test_seeds_that_only_one_arm_has_are_left_out():
    results = runs(vanilla=[90.0, 91.0], sepp=[91.0, 93.0])
    results["sepp"][0] = {"seed": 0, "skipped": "no labels"}
    gain = summarise(DATA, MINING, results)["gain"]["sepp"]["linear"]
    assert gain["differences"] == [2.0]


def test_the_error_of_the_test_set_is_beside_it():
    summary = summary_of(vanilla=[90.0, 91.0], sepp=[92.0, 93.5])
    assert summary["test_error"] == pytest.approx(196 * (0.905 * 0.095 / 360) ** 0.5, rel=0.01)
    text = flowing(printed(summary))
    assert "360 test images, whose choice alone leaves an accuracy uncertain by ±3.04" in text
    assert "share one sampler and one set of pairs" in text


def test_pairs_no_better_than_chance_are_named_so():
    by_chance = {**MINING, "accuracy": 0.07, "accuracy_low": 0.05, "accuracy_high": 0.09}
    unsure = {**MINING, "accuracy": 0.12, "accuracy_low": 0.09, "accuracy_high": 0.15}
    scores = {"vanilla": [90.0], "sepp": [91.0]}
    assert "no better than chance (10.0% by chance)" in printed(
        summary_of(mining=by_chance, **scores)
    )
    assert "not shown to be better than chance" in printed(summary_of(mining=unsure, **scores))
    text = flowing(printed(summary_of(**scores)))
    assert "91.5% with equal labels (95 % interval 88.0% to 94.0%); 10.0% by chance" in text


def test_an_accuracy_by_answers_is_called_so():
    judged = {**MINING, "chance": None, "judged": 38, "note": "by 38 answers"}
    text = flowing(printed(summary_of(mining=judged, vanilla=[90.0], sepp=[91.0])))
    assert "91.5% right, as people judged (95 % interval 88.0% to 94.0%) (by 38 answers)" in text
    assert "equal labels" not in text
    assert "None" not in text


ORACLE = {"vanilla": [80.0, 81.0, 82.0], "oracle": [84.0, 85.4, 86.8]}  # gains of 4, 4.4, 4.8


def test_a_share_of_the_oracle_s_gain_has_fieller_s_interval():
    summary = summary_of(**ORACLE, sepp=[81.0, 83.0, 85.0])
    expected = {"mean": round(2 / 4.4, 6), "low": -0.142128, "high": 0.831373}
    gain = summary["gain"]["sepp"]
    assert gain["linear"]["oracle_share"] == pytest.approx(expected, abs=1e-5)
    assert gain["knn"]["oracle_share"] == pytest.approx(expected, abs=1e-5)
    assert "oracle_share" not in summary["gain"]["oracle"]["linear"]
    text = flowing(printed(summary))
    assert (
        "Share of the oracle's gain, linear: sepp 45% (95 % interval −14% to 83%). kNN: sepp"
        in text
    )


@pytest.mark.parametrize("oracle", [[80.1, 83.0, 82.2], [79.0, 80.0, 81.5], [84.0]])
def test_of_a_gain_that_is_not_established_no_share_is_sure(oracle):
    summary = summary_of(vanilla=ORACLE["vanilla"], oracle=oracle, sepp=[81.0, 83.0, 85.0])
    of = summary["gain"]["sepp"]["linear"]["oracle_share"]
    assert of is None or of["low"] is of["high"] is None
    assert (of is None) == (oracle[0] < 80)  # the oracle lost, so that there is nothing to share
    assert shares(summary).count("the oracle's own gain is not established") == 2


def test_what_holm_does_not_call_a_gain_is_not_established():
    """No interval stands beside a verdict that says that the oracle may be chance."""
    oracle = [81.0, 82.4, 82.8]  # p = 0.03 alone
    two = summary_of(vanilla=ORACLE["vanilla"], oracle=oracle, sepp=[80.5, 81.1, 82.9])
    assert 0.05 < two["gain"]["oracle"]["linear"]["p"] < 0.1
    assert two["gain"]["sepp"]["linear"]["oracle_share"]["low"] is None


def test_without_an_oracle_nothing_is_said_of_shares():
    summary = summary_of(vanilla=[80.0, 81.0], sepp=[81.0, 83.0])
    assert "oracle_share" not in summary["gain"]["sepp"]["linear"]
    assert shares(summary) is None
    assert shares(summary_of(sepp=[81.0], oracle=[83.0])) is None


TRAINED = {"batch_size": 64, "epochs": 100, "steps_before": 0}


def trained(sampler: dict | None, steps_before: int = 0) -> dict:
    results = runs(vanilla=[90.0], sepp=[91.0], oracle=[92.0])
    for arm in results.values():
        arm[0].update(TRAINED, steps_before=steps_before)
    return summarise(DATA, MINING, results, sampler)


def test_what_the_sampler_saw_is_extra_to_sepp_alone():
    summary = trained({"method": "moco", "epochs": 50, "rows_seen": 3200})
    assert cost(summary) == (
        "Rows seen: vanilla, oracle 6,400; sepp 6,400 + the sampler's 3,200. "
        "Vanilla of equal total training would have had 150 epochs, not 100."
    )
    assert summary["sampler"]["equal_epochs"] == 150
    assert cost(summary) in flowing(printed(summary))


def test_what_a_continued_sampler_saw_is_every_arm_s():
    summary = trained({"method": "moco", "epochs": 50, "rows_seen": 3200}, steps_before=50)
    assert cost(summary) == (
        "Rows seen, the sampler's 3,200 among them: vanilla, sepp, oracle 9,600."
    )
    assert summary["sampler"]["equal_epochs"] is None


def test_what_a_checkpoint_saw_is_not_known():
    summary = trained({"method": None, "epochs": None, "rows_seen": None})
    assert "sepp 6,400 + what the sampler's checkpoint was trained on" in cost(summary)
    assert "equal" not in cost(summary)


def test_what_given_weights_saw_is_not_counted():
    assert "Not counted" not in cost(trained({"rows_seen": 3200}))
    summary = trained({"rows_seen": 3200, "weights": "timm/resnet18.a1_in1k"})
    assert summary["weights"] == ["timm/resnet18.a1_in1k"]
    assert cost(summary).endswith(
        " Not counted: what timm/resnet18.a1_in1k saw, which trainings started from."
    )
    assert cost(summary) in flowing(printed(summary))


def test_numbers_for_people():
    assert signed(1.234) == "+1.23"
    assert signed(-1.0) == "−1.00"
    assert [signed(x) for x in (-0.004, 0.0, -0.0, 0.004, -0.006)] == ["+0.00"] * 4 + ["−0.01"]
    assert whole_percent(-0.004) == "0\N{NO-BREAK SPACE}%"
    assert signed(None) == plus_minus(None, None) == "–"
    assert plus_minus(90.0, None) == "90.00"
    assert plus_minus(90.0, 0.456) == "90.00 ± 0.46"


def test_the_table_fits_80_columns_without_a_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    arms = {arm: [90.0, 91.0] for arm in ("vanilla", "sepp", "duplicate", "random", "oracle")}
    results = runs(**{**arms, "oracle": [95.0, 96.1]})
    for arm in results.values():
        arm[0].update(TRAINED)
    text = printed(summarise(DATA, MINING, results, {"rows_seen": 3200}))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "Data: digits, 1,437 training and 360 test images." in text
    assert "1,234 pairs" in text
    assert "90.50 ± 0.71" in text
    assert text.rstrip().endswith("Report: reports/index.html")


def test_the_table_says_what_has_changed_since():
    text = flowing(printed(summary_of(vanilla=[90.0], sepp=[91.0]), changed="sepp.min"))
    assert text.startswith("NOTE: these results are of other params, code or data")
    assert "(changed since: sepp.min)" in text


def test_the_table_without_evaluation_says_why():
    mining = {**MINING, "accuracy": None, "note": "no accuracy: no [labels]"}
    summary = summarise(DATA, mining, {"sepp": [{"seed": 0, "skipped": "no test split"}]})
    text = printed(summary)
    assert "not evaluated: no test split" in text
    assert "no accuracy: no [labels]" in text
