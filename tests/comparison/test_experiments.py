"""Params and summaries of experiments, and why some have none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.comparison.experiments import load, merged
from stages.comparison.revisions import LeftOut, choose
from tests.comparison.checkout import summary


def read(*names: str, stale: str | None = None):
    return load(choose(names)[0], lambda: stale)


def test_params_and_summaries_of_all_and_of_the_workspace(checkout):
    checkout.experiment("lower", summary(9), sepp__min=0.8)
    checkout.write(summary(7), sepp__min=0.7)
    found, left_out = read(stale="sepp.min")
    assert left_out == []
    values = [(one.name, one.params["sepp.min"], one.summary["pairs"]["count"]) for one in found]
    assert values == [("workspace", 0.7, 7), ("HEAD", 0.97, 3938), ("lower", 0.8, 9)]
    assert [one.changed for one in found] == ["sepp.min", None, None]
    assert found[0].baseline is found[1].baseline is None
    assert found[2].baseline


def test_results_of_other_params_are_told_of_a_commit(checkout):
    lock = "stages:\n  mine:\n    params:\n      params.yaml:\n        sepp.min: 0.97\n"
    Path("dvc.lock").write_text(lock)
    checkout.commit(summary(), sepp__min=0.97)
    assert read("HEAD", "HEAD")[0][0].changed is None
    checkout.commit(summary(), sepp__min=0.8)
    assert [one.changed for one in read("HEAD", "HEAD~1")[0]] == ["sepp.min", None]


OLD = summary()
del OLD["gain"]["sepp"]["linear"]["p"]


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        (None, "has no reports/summary.json"),
        ("{", "its reports/summary.json is not JSON"),
        ("[]", "its reports/summary.json was written by another version"),
        ('{"pairs": 370.0, "arms": {}, "gain": {}}', "was written by another version"),
        (json.dumps(OLD), "was written by another version"),
        (json.dumps({**summary(), "arms": {}}), "was written by another version"),
    ],
)
def test_experiments_without_results_are_left_out_with_the_reason(checkout, results, reason):
    checkout.experiment("broken", results)
    found, left_out = read("HEAD", "broken")
    assert [one.name for one in found] == ["HEAD"]
    ((name, told),) = left_out
    assert name == "broken"
    assert reason in told


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a: [", "is not YAML"), ("", "has no parameters"), (None, "has no params.yaml")],
)
def test_params_that_cannot_be_read(checkout, text, reason):
    Path("params.yaml").unlink()
    if text is not None:
        Path("params.yaml").write_text(text)
    found, left_out = read("workspace", "HEAD")
    assert [one.name for one in found] == ["HEAD"]
    assert reason in left_out[0].reason


def test_a_workspace_without_results_says_how_to_make_them(checkout):
    checkout.write(None)
    told = "has no reports/summary.json; `dvc repro` makes it"
    assert read("workspace")[1] == [LeftOut("workspace", told)]


def test_earlier_summaries_that_have_what_is_compared_are_read(checkout):
    """Before there were rounds, and shares of the oracle."""
    older = summary()
    del older["rounds"], older["sampler"], older["test_error"]
    checkout.experiment("older", older)
    assert [one.name for one in read("older", "HEAD")[0]] == ["older", "HEAD"]


def names(*asked: str, stale: str | None = None) -> list[str]:
    return [one.name for one in merged(read(*asked, stale=stale)[0])]


def test_one_row_for_the_workspace_and_what_it_is_the_same_as(checkout):
    assert names() == ["HEAD, workspace"]
    checkout.experiment("a", summary(9), sepp__min=0.8)
    assert names() == ["HEAD, workspace", "a"]
    checkout.write(summary(9), sepp__min=0.8)  # as `dvc exp run` leaves it
    assert names() == ["HEAD", "a, workspace"]
    checkout.write(summary(9), sepp__min=0.7)
    assert names() == ["workspace", "HEAD", "a"]
    checkout.commit(summary(9), sepp__min=0.8)
    assert names() == ["a, HEAD, workspace"]


def test_two_experiments_of_the_same_are_two_rows(checkout):
    for name in "ab":
        checkout.experiment(name, summary(9), sepp__min=0.8)
    assert sorted(names()) == ["HEAD, workspace", "a", "b"]
    checkout.write(summary(9), sepp__min=0.8)
    assert sorted(names()) in (["HEAD", "a", "b, workspace"], ["HEAD", "a, workspace", "b"])


def test_what_has_changed_in_the_workspace_is_told_in_the_row_that_it_shares(checkout):
    (row,) = merged(read(stale="stages/mine.py")[0])
    assert row.changed == "in the workspace, stages/mine.py"
