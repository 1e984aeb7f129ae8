"""`sepp compare` in a checkout with experiments."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stages import cli
from tests.comparison.checkout import git, summary
from tests.comparison.conftest import checkout as _checkout

checkout = _checkout
PAGE = Path("reports/compare.html")


def sepp(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["compare", *arguments])


def refused(*arguments: str) -> str:
    result = sepp(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert not PAGE.exists()
    return result.output


def test_all_experiments_and_the_workspace(checkout):
    checkout.experiment("lower", summary(9), sepp__min=0.8)
    checkout.experiment("broken", None)
    checkout.queue("boom", "failed")
    checkout.write(summary(7), sepp__min=0.7)
    status = git("status", "--porcelain")
    result = sepp()
    assert result.exit_code == 0, result.output
    rows = [line.split()[0] for line in result.output.splitlines() if line[:1].isalpha()]
    assert rows[:4] == ["experiment", "workspace", "HEAD", "lower"]
    for text in ("min=0.7", "min=0.97", "min=0.8", "broken (has no reports/summary.json)", "boom"):
        assert text in result.output
        assert text.split()[0] in PAGE.read_text().replace("<wbr>", "")
    PAGE.unlink()
    assert git("status", "--porcelain") == status


def test_chosen_ones_in_their_order(checkout):
    checkout.experiment("lower", summary(9), sepp__min=0.8)
    git("tag", "v1")
    output = sepp("lower", "v1", "-o", "pages/of them/x.html").output
    assert output.index("lower") < output.index("v1")
    assert "workspace" not in output
    assert output.endswith("Charts: pages/of them/x.html\n")
    assert Path("pages/of them/x.html").read_text().startswith("<!DOCTYPE html>")
    assert not PAGE.exists()
    output = sepp("lower").output  # beside the workspace
    assert output.index("workspace") < output.index("lower")


def test_without_experiments(checkout):
    output = sepp().output
    assert "HEAD, workspace" in output
    assert "dvc exp run" in output


def test_mistakes_are_one_line(checkout):
    assert "nope: no experiment and no git revision" in refused("nope")
    checkout.queue("waits")
    checkout.write(None)
    assert "nothing to compare: left out are waits (waits in the queue" in refused("waits", "waits")
    blocked = refused("HEAD", "-o", "params.yaml/x.html")
    assert "params.yaml/x.html: cannot be written (" in blocked
    assert "-o" in blocked


def test_outside_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "is not in a git repository" in refused()


def test_help():
    assert "[EXP]..." in sepp("--help").output


@pytest.mark.parametrize("name", ["HEAD", "workspace"])
def test_the_checkout_stays_as_it_is(checkout, name):
    before = git("for-each-ref"), git("rev-parse", "HEAD"), git("status", "--porcelain")
    sepp(name)
    PAGE.unlink()
    assert (git("for-each-ref"), git("rev-parse", "HEAD"), git("status", "--porcelain")) == before
