"""What counts as a change since the results were made."""

import json
import subprocess

from stages.reporting import freshness


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
