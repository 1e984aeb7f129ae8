"""`python -m tests.faults` runs, and tells a promise that is broken from one that is kept."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.faults.cases import Case, Skipped, Told, table


def raises(error: Exception) -> Told:
    raise error


def test_the_table():
    def works(bench: object) -> Told:
        return Told(3, "same | bits")

    cases = [
        Case("good", works, True),
        Case("bad", lambda bench: raises(AssertionError("other\nbits")), True),
        Case("elsewhere", lambda bench: raises(Skipped("needs root")), True),
    ]
    outcomes = [case.run(None) for case in cases]
    assert [outcome.ok for outcome in outcomes] == [True, False, None]
    assert table(outcomes).splitlines()[2:] == [
        "| good | 3 | same / bits | yes |",
        "| bad | 0 | AssertionError: other bits | **no** |",
        "| elsewhere | 0 | skipped: needs root | – |",
    ]


@pytest.mark.slow
def test_two_quick_cases(tmp_path):
    command = ["-m", "tests.faults", "--quick", "--only", "combine", "--out", tmp_path / "table.md"]
    done = subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 2 + 2
    assert lines[2].startswith("| an input cut short, combine | ")
