"""Further evaluations in the summary, in the terminal's table and on the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stages import report
from stages.common import artifacts
from stages.common.errors import ArtifactError
from stages.reporting.further import caution, lines, summarise_each
from tests.reporting import results
from tests.reporting.test_summary import flowing, printed, summary_of
from tests.test_report import Page

TITLES = [["semi_1_top1", "1 % of the labels, top-1"], ["semi_10_top1", "10 %, top-1"]]
SCORES = {"vanilla": [40.0, 41.0, 43.0], "sepp": [42.0, 43.1, 44.9], "random": [40.0, 40.5, 43.5]}


def found(**scores: list[float]) -> dict:
    """What the stage wrote for each arm and seed: 1 % as given, 10 % twenty points more."""
    return {
        arm: [
            {"seed": seed, "reported": TITLES, "semi_1_top1": v, "semi_10_top1": v + 20}
            for seed, v in enumerate(values)
        ]
        for arm, values in scores.items()
    }


def test_numbers_and_paired_gains():
    one = summarise_each({"semi": found(**SCORES)}, "vanilla")["semi"]
    assert one["titles"] == [tuple(pair) for pair in TITLES]
    assert one["arms"]["sepp"]["semi_10_top1"]["values"] == pytest.approx([62, 63.1, 64.9])
    assert one["arms"]["vanilla"]["semi_1_top1"]["mean"] == pytest.approx(124 / 3, abs=1e-6)
    gain = one["gain"]["sepp"]["semi_1_top1"]
    assert gain["differences"] == pytest.approx([2.0, 2.1, 1.9])
    assert gain["mean"] == pytest.approx(2.0)
    assert gain["low"] == pytest.approx(2 - 4.302653 * 0.1 / 3**0.5, abs=1e-5)
    assert set(one["gain"]) == {"sepp", "random"}


def test_holm_is_over_the_arms_of_each_number():
    both = summarise_each({"semi": found(**SCORES)}, "vanilla")["semi"]
    alone = {arm: SCORES[arm] for arm in ("vanilla", "sepp")}
    alone = summarise_each({"semi": found(**alone)}, "vanilla")["semi"]
    one, two = (own["gain"]["sepp"]["semi_1_top1"]["p"] for own in (alone, both))
    assert two == pytest.approx(2 * one, abs=1e-5)


def test_an_arm_that_was_not_evaluated_says_why_and_notes_are_told_once():
    runs = found(**SCORES)
    runs["random"] = [{"seed": s, "reported": [], "skipped": "no labels"} for s in range(3)]
    one = summarise_each({"semi": runs}, "vanilla")["semi"]
    assert one["notes"] == ["random: not evaluated: no labels"]
    assert one["arms"]["random"] == {}
    assert [line.arm for line in lines(one)] == ["vanilla", "sepp"] * 2
    noted = found(**SCORES)
    for own in noted.values():
        for run in own:
            run["note"] = "1 % is 3 of 48 images"
    assert summarise_each({"semi": noted}, "vanilla")["semi"]["notes"] == ["1 % is 3 of 48 images"]


def test_a_note_of_some_seeds_names_them():
    runs = found(**SCORES)
    for run in (*runs["vanilla"], runs["sepp"][1]):
        run["note"] = "few labels"
    runs["random"] = [*runs["random"][:1], *({"seed": s, "skipped": "no"} for s in (1, 2))]
    for run in runs["random"]:
        run.setdefault("reported", [])
    assert summarise_each({"semi": runs}, "vanilla")["semi"]["notes"] == [
        "vanilla, sepp (seed 1): few labels",
        "random (seeds 1, 2): not evaluated: no",
    ]


def test_the_terminals_table():
    summary = summary_of(vanilla=[80.0, 81.0], sepp=[82.0, 84.0])
    assert caution(summary) is None
    assert "Further" not in printed(summary)
    summary["evaluations"] = summarise_each({"semi": found(**SCORES)}, "vanilla")
    text = printed(summary)
    row = next(line for line in text.splitlines() if "1 % of the labels" in line)
    assert re.search(r"1 % of the labels, top-1 +vanilla +41\.33 ± 1\.53 +–", row)
    assert re.search(r"sepp +43\.33 ± 1\.4[67] +\+2\.00\* *\n.*\[\+1\.75, \+2\.25\]", text)
    assert "Holm's correction is over the arms compared, for each number" in flowing(text)
    assert max(map(len, text.splitlines())) <= 80


def test_without_vanilla_there_is_no_gain():
    one = summarise_each({"semi": found(sepp=[42.0, 43.0])}, "vanilla")["semi"]
    assert [line.gain for line in lines(one)] == [None, None]


@pytest.fixture
def written(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    results.write_results(tmp_path)
    return tmp_path


def write_further(name: str) -> None:
    for arm, own in found(**{arm: SCORES[arm][:2] for arm in results.ARMS}).items():
        for run in own:
            path = report.Inputs.further / name / f"{arm}-{run['seed']}.json"
            artifacts.write_json(path, {"arm": arm, **run})


def test_the_page_has_a_section_only_where_there_are_some(written):
    summary, page = results.run()
    assert summary["evaluations"] == {}
    assert 'id="further"' not in page
    write_further("semi_supervised")
    summary, page = results.run()  # of an evaluation that params.yaml no longer names
    assert summary["evaluations"] == {}
    summary, page = results.run(evaluations=["semi_supervised"])
    assert summary["evaluations"]["semi_supervised"]["gain"]["sepp"]["semi_1_top1"]["n"] == 2
    text = " ".join(Page(page).text.split())
    assert "Further evaluations semi_supervised" in text
    assert re.search(r"1 % of the labels, top-1 ?vanilla ?40\.50 ± 0\.71", text)
    assert "+2.05" in text


def test_a_missing_or_broken_result_is_named(written):
    with pytest.raises(ArtifactError, match="repro evaluate@semi_supervised-vanilla-0"):
        results.run(evaluations=["semi_supervised"])
    write_further("semi_supervised")
    broken = report.Inputs.further / "semi_supervised/sepp-1.json"
    artifacts.write_json(broken, {"arm": "sepp", "reported": TITLES, "semi_1_top1": 3.0})
    with pytest.raises(ArtifactError, match=r"sepp-1\.json: does not say semi_10_top1"):
        results.run(evaluations=["semi_supervised"])
