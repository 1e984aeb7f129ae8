"""Whether two commits are of the same code, for an experiment."""

from __future__ import annotations

from pathlib import Path

from stages.study.code import code_of
from tests.comparison.checkout import git

PIPELINE = """\
stages:
  sampler:
    cmd: x
    deps:
      - data/manifest.parquet
      - stages/sampler.py
      - stages/ssl/methods/${sampler.method}.py
"""


def test_only_what_a_stage_runs_with_these_params_counts(checkout):
    def commit(file: str, text: str) -> str:
        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        git("add", "-A")
        git("commit", "-qm", file)
        return code_of(git("rev-parse", "HEAD"), {"sampler": {"method": "moco"}})

    commit("dvc.yaml", PIPELINE)
    commit("stages/sampler.py", "1")
    first = commit("stages/ssl/methods/moco.py", "1")
    assert commit("README.md", "1") == first
    assert commit("stages/commands/study.py", "1") == first  # no stage runs it
    assert commit("stages/ssl/methods/byol.py", "1") == first
    assert commit("stages/ssl/methods/moco.py", "2") != first
    assert commit("stages/ssl/methods/moco.py", "1") == first
    assert commit("dvc.yaml", PIPELINE.replace("cmd: x", "cmd: y")) != first


def test_a_commit_that_is_gone_is_other_code(checkout):
    assert code_of("0" * 40, {}) != code_of(git("rev-parse", "HEAD"), {})
