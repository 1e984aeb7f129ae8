"""What counts as a change since the results were made."""

import json
import os
import subprocess
import sys

import pytest

from stages.reporting import freshness
from stages.reporting.freshness import stale


def test_a_comparison_of_scores_makes_no_result_stale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text("stages:\n  report: {}\n")
    found = {}

    def status(*arguments, **options):
        return subprocess.CompletedProcess([], 0, json.dumps({"report": [{"changed deps": found}]}))

    monkeypatch.setattr(freshness.subprocess, "run", status)
    found["reports/scores.csv"] = found["reports/metrics/scores.json"] = "modified"
    assert freshness.stale() is None
    found["stages/report.py"] = "modified"
    assert freshness.stale() == "stages/report.py"


@pytest.mark.parametrize("kind", ["write", "read"])
def test_a_running_dvc_is_not_disturbed(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    holder = {"pid": os.getpid(), "cmd": "dvc repro"}
    held = {kind: {"models/sepp-0": holder if kind == "write" else [holder]}}
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/tmp/rwlock").write_text(json.dumps(held))
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("dvc was asked"))
        assert stale() == "what a `dvc` command is making here at the moment"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    holder["pid"] = gone.pid
    (tmp_path / ".dvc/tmp/rwlock").write_text(json.dumps(held))
    assert stale() is None  # a killed one holds nothing; and this is no repository
