"""What is said of the numbers, and the table on stdout."""

import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from stages.reporting.summary import headline, plus_minus, signed, spread, summarise, verdict
from stages.reporting.table import print_summary

MINING = {"count": 1234, "accuracy": 0.915, "anchors_covered": 456, "images": 1437}


def runs(**scores: list[float]) -> dict:
    return {
        arm: [{"seed": s, "linear_top1": v, "knn_top1": v} for s, v in enumerate(values)]
        for arm, values in scores.items()
    }


def printed(summary: dict) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        print_summary(summary, Path("reports/index.html"))
    return stream.getvalue()


def test_a_gain_beyond_the_spread():
    summary = summarise(MINING, runs(vanilla=[90.0, 91.0], sepp=[95.0, 96.0]))
    assert spread(summary, "sepp") == pytest.approx(1.0)  # sqrt(0.5 + 0.5)
    more = "more than the seed-to-seed spread of ±1.00"
    assert verdict(summary, "sepp") == f"{more}, but 2 seeds are too few to be sure"
    three = summarise(MINING, runs(vanilla=[89.0, 90.0, 91.0], sepp=[94.0, 95.0, 96.0]))
    assert verdict(three, "sepp") == "more than the seed-to-seed spread of ±1.41"


@pytest.mark.parametrize("sepp", [[90.5, 91.5], [89.5, 90.5], [90.0, 91.0]])
def test_a_gain_within_the_spread_is_no_evidence(sepp):
    summary = summarise(MINING, runs(vanilla=[90.0, 91.0], sepp=sepp))
    assert "no evidence of a difference" in verdict(summary, "sepp")


def test_the_headline_is_about_sepp_whatever_the_order():
    summary = summarise(MINING, runs(random=[80.0], sepp=[89.0], vanilla=[90.0]))
    assert headline(summary).startswith(
        "Training on 1,234 semantic pairs lowered linear top-1 by 1.00 points"
    )


def test_numbers_for_people():
    assert signed(1.234) == "+1.23"
    assert signed(-1.0) == "−1.00"
    assert signed(None) == plus_minus(None, None) == "–"
    assert plus_minus(90.0, None) == "90.00"
    assert plus_minus(90.0, 0.456) == "90.00 ± 0.46"


def test_the_table_fits_80_columns_without_a_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    arms = {arm: [90.0, 91.0] for arm in ("vanilla", "sepp", "duplicate", "random", "oracle")}
    text = printed(summarise(MINING, runs(**arms)))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "1,234 pairs" in text
    assert "91.5% with equal labels" in text
    assert "90.50 ± 0.71" in text
    assert text.rstrip().endswith("Report: reports/index.html")


def test_the_table_without_evaluation_says_why():
    mining = {**MINING, "accuracy": None, "note": "no accuracy: no [labels]"}
    text = printed(summarise(mining, {"sepp": [{"seed": 0, "skipped": "no test split"}]}))
    assert "not evaluated: no test split" in text
    assert "no accuracy: no [labels]" in text
