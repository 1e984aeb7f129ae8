"""Whether two commits are of the same code, for an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.study.code import code_by_method, code_of
from stages.study.plan import plan
from stages.study.spec import find
from tests.comparison.checkout import git
from tests.conftest import REPOSITORY

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


@pytest.fixture
def keys(checkout):
    """Keys of a study's trainings with the code that is here, by the name of their stage."""
    names = ["dvc.yaml", *Path(REPOSITORY).glob("stages/ssl/methods/*.py")]
    for source in (REPOSITORY / name for name in names):
        path = Path(source.relative_to(REPOSITORY))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.read_text())

    def keys(study: str) -> dict[str, set[str]]:
        git("add", "-A")
        git("commit", "-qm", "Code", "--allow-empty")
        found: dict[str, set[str]] = {}
        for one in plan(study, find(study)[1]).experiments:
            code = code_by_method(git("rev-parse", "HEAD"), one.params)
            for stage, training in one.trainings(code).items():
                found.setdefault(stage, set()).add(training.key)
        return found

    return keys


def test_what_rows_share_is_one_training(keys):
    assert {stage: len(found) for stage, found in keys("table3").items()} == {
        "sampler": 1, "pretrain@vanilla-0": 8, "pretrain@sepp-0": 1,
    }  # fmt: skip
    found = {stage: len(found) for stage, found in keys("samplers").items()}
    assert {found[f"pretrain@vanilla-{seed}"] for seed in (0, 1, 2)} == {1}
    assert found["sampler"] == 9  # three methods, three seeds


@pytest.mark.parametrize("method", ["moco", "byol"])
def test_other_code_of_a_method_is_another_training_of_it_alone(method, keys):
    before = keys("table3")
    file = Path(f"stages/ssl/methods/{method}.py")
    file.write_text(file.read_text() + "\n")
    after = keys("table3")
    assert (after["sampler"] == before["sampler"]) == (method != "moco")
    assert len(after["pretrain@vanilla-0"] - before["pretrain@vanilla-0"]) == 1
    assert (after["pretrain@sepp-0"] == before["pretrain@sepp-0"]) == (method != "moco")
