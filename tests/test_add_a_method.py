""" "Add a method" in docs/methods.md is true: its toy, written as it says, trains and is tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, TINY, YAML_SAFE, write_data, write_params


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the code, with the page's two blocks put where it says, and data to train on."""
    for folder in ("stages", "tests"):
        shutil.copytree(
            REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    page = (
        (REPOSITORY / "docs/methods.md").read_text().split("## Add a method")[1].split("\n## ")[0]
    )
    assert len(page.strip().splitlines()) < 45
    code, block = re.findall(r"```(?:python|yaml)\n(.*?)```", page, re.DOTALL)
    (tmp_path / "stages/ssl/methods/toy.py").write_text(code)
    toy = YAML_SAFE.load(block)["toy"]
    write_params(tmp_path / "params.yaml", {**TINY, "sampler.method": "toy", "methods.toy": toy})
    write_data(tmp_path)
    return tmp_path


def python(folder: Path, *arguments: str) -> str:
    variables = {**os.environ, "PYTHONPATH": str(folder), "SEPP_ACCELERATOR": "cpu"}
    variables["SEPP_STATE_DIR"] = str(folder / ".state")
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=variables, check=True, stdout=subprocess.PIPE
    ).stdout.decode()


@pytest.mark.slow
def test_the_toy_is_a_sampler_and_passes_the_tests(copy):
    python(copy, "-m", "stages.sampler")
    assert (copy / "models/sampler/model.safetensors").exists()
    chosen = "toy and broken or preset or test_contract"
    tests = ("tests/ssl/test_every_method.py", "tests/test_contract.py")
    said = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *tests)
    assert "passed" in said
    assert "failed" not in said
