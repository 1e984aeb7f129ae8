"""A study written down: Markdown, CSV and a page, whole and always the same."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from stages.study.plan import Choice
from stages.study.results import outcomes
from stages.study.show import bounded, write
from tests.comparison.checkout import summary
from tests.study.conftest import made
from tests.test_report import Page


def shown(plan) -> tuple[str, list[dict], str]:
    markdown, table, page = write(plan, outcomes(plan))
    with table.open(newline="") as file:
        return markdown.read_text(), list(csv.DictReader(file)), page.read_text()


@pytest.fixture
def plan(checkout):
    plan = made()
    for place, one in enumerate(plan.experiments[:5:2]):  # 0.9 with seeds 0, 1 and 2
        result = summary(1234, 0.8, 1.0, seeds=1)
        result["arms"]["sepp"]["top1"] = [80 + place / 10]
        checkout.experiment(one.name, result)
    return plan


def test_ours_stand_beside_the_papers(plan):
    markdown, table, _ = shown(plan)
    rows = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line[:1] == "|"]
    header, _, vanilla, first, second = rows
    assert header[:3] == ["sepp.min", "arm", "seeds"]
    told = dict(zip(header, first, strict=True))
    assert told["seeds"] == "3"
    assert told["pairs"].startswith("1,234")
    assert told["right, %"].startswith("80.0")
    assert told["linear, %"].startswith("80.10 [")
    assert told["paper: linear, %"] == "72.50"
    assert re.fullmatch(r"\+2\.10\* \[\+1\.85, \+2\.35\]", told["gain, linear"])
    assert told["paper: gain, linear"] == "+2.50"
    assert told["hours"] == "–"
    assert vanilla[:3] == ["any", "vanilla", "3"]
    assert second[:3] == ["0.95", "sepp", "0 of 3 (not run)"]
    assert "3 of 6 experiments have run; seeds: 0, 1, 2." in markdown
    assert "Paper: Table 0 of arXiv:0000.00000, of one run each." in markdown
    assert "What it cost was not recorded." in markdown
    assert "ehearsal" not in markdown
    assert [line["state"] for line in table] == ["", "", "not run"]
    assert table[1]["linear"] == "80.0 80.1 80.2"
    assert float(table[1]["linear_gain"]) == pytest.approx(2.1)
    assert table[1]["linear_paper"] == "72.5"
    assert table[2]["linear_gain"] == ""
    assert len(table[1]["commits"].split()) == 3
    assert {line["rehearsal"] for line in table} == {""}


def test_the_page_is_whole_and_always_the_same(plan):
    _, _, page = shown(plan)
    assert shown(plan)[2] == page
    read = Page(page)
    assert len(read.ids) == len(set(read.ids))
    assert all(link.startswith(("#", "data:")) for link in read.links)
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|@import|url\((?!#)", page)
    assert "<code>better</code>" in page
    assert "Ours beside the paper’s" in read.text
    assert page.count("<svg") == 1
    assert "1,234" in read.text
    assert "–" in read.text


def test_a_rehearsal_says_so_everywhere(checkout):
    plan = made(Choice(scale=0.02))
    assert all(one.name.startswith("rehearsal-made-") for one in plan.experiments)
    paths = write(plan, outcomes(plan))
    assert [path.name for path in paths] == [
        f"rehearsal-made.{kind}" for kind in ("md", "csv", "html")
    ]
    markdown, table, page = shown(plan)
    assert markdown.startswith("# Rehearsal: Two thresholds\n\n**A rehearsal at scale 0.02")
    assert {line["rehearsal"] for line in table} == {"0.02"}
    assert {line["study"] for line in table} == {"rehearsal-made"}
    assert "its numbers tell nothing of the real ones" in page
    assert "<title>Rehearsal: " in page


def test_without_a_paper_and_without_results(checkout):
    plan = made(paper=None, seeds=[0])
    markdown, table, page = shown(plan)
    assert "aper" not in markdown
    assert "beside the paper" not in page
    assert "<svg" not in page
    assert len(table) == 3
    assert all(line["linear"] == "" for line in table)


def test_the_papers_other_data_is_named(checkout):
    markdown, _, _ = shown(made(Choice(data="characters")))
    assert "of one run each, and of other data than this" in markdown
    assert "on characters" in markdown


def test_numbers_and_what_is_said_of_them_stand_apart():
    assert bounded("80.1 [79.0, 81.2]") == ("80.1", "[79.0, 81.2]")
    assert bounded("0 of 3 (not run)") == ("0 of 3", "(not run)")
    assert bounded("–") == ("–", "")


def test_files_are_written_where_they_belong(plan):
    assert write(plan, outcomes(plan))[0] == Path("reports/studies/made.md")
