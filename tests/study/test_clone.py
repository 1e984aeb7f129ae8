"""What an experiment in a copy of the checkout sees of the checkout itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.study.clone import cache_dir, clone, dvc, environment
from stages.study.plan import plan
from stages.study.present import _job
from stages.study.results import WAITING, Outcome
from stages.study.spec import Study
from stages.study.worker import prepare
from tests.comparison.checkout import git
from tests.conftest import REPOSITORY

CODE = (
    "from stages.common import env, listing\n"
    "print(env.in_repository('w.pt').read_text(), env.data_root(), env.state_dir())\n"
    "print(listing.describe(env.in_repository('sets/pets'))['files'])\n"
)
STUDY = {
    "title": "T",
    "about": "A",
    "preset": "digits",
    "set": {
        "pretrain.start": "scratch",
        "pretrain.weights": "w.pt",
        "sampler.of_epochs": None,
        "watch": ["pretrain"],
        "evaluations": ["transfer"],
        "transfer.datasets": [{"name": "pets", "reader": "folder", "root": "sets/pets"}],
    },
    "columns": ["linear"],
}


def test_what_is_below_the_checkout_is_found_from_a_copy(checkout, monkeypatch):
    """Weights, roots of data sets, images and unfinished trainings, all of them relative."""
    monkeypatch.setenv("SEPP_DATA_ROOT", "images")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    Path("dvc.yaml").write_text("stages: {}\n")
    git("add", "-A")
    git("commit", "-qm", "Pipeline")
    Path("w.pt").write_text("w")
    Path("sets/pets").mkdir(parents=True)
    Path("sets/pets/a.png").touch()
    (one,) = plan("mine", Study.model_validate(STUDY)).experiments
    copy = (checkout.folder / "copy").absolute()
    copy.mkdir()
    prepare(_job(Outcome(one, WAITING)), copy)
    seen = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=copy,
        env={**environment(copy), "PYTHONPATH": str(REPOSITORY), "DVC_ROOT": str(copy)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = Path.cwd()
    assert seen.split() == ["w", str(here / "images"), str(here / ".state"), "1"]


PARTS = """\
stages:
  whole:
    cmd: mkdir -p whole/one && cp params.yaml whole/one/made
    params: [value]
    outs: [whole]
  part:
    cmd: cp whole/one/made part
    deps: [whole/one]
    outs: [part]
"""


@pytest.mark.slow
def test_a_lock_of_folders_that_the_cache_lacks(checkout):
    """As after a fresh clone: they are forgotten, and what needs a part of one is found."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    Path("dvc.yaml").write_text(PARTS)
    for value in (2, 1):  # what is committed is 1
        Path("params.yaml").write_text(f"value: {value}\n")
        dvc(".", "repro", "-q")
    Path("params.yaml").write_text("value: 1\n")
    git("add", "-A")
    git("commit", "-qm", "Pipeline")
    locked = YAML(typ="safe").load(Path("dvc.lock"))["stages"]["whole"]["outs"][0]["md5"]
    (Path(cache_dir()) / "files/md5" / locked[:2] / locked[2:]).unlink()
    copy = checkout.folder / "copy"
    clone(copy, "HEAD", [])
    assert "    outs:\n    - path: part\n" in (copy / "dvc.lock").read_text()  # as DVC writes it
    assert list(YAML(typ="safe").load(copy / "dvc.lock")["stages"]) == ["part"]
    said = dvc(copy, "exp", "run", "-S", "value=2")
    assert "Stage 'part' is cached" in said
    assert (copy / "part").read_text() == "value: 2\n"
