"""`make gpu-check` where there is no GPU: its checks run, each of the CPU beside itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_the_checks_run(tmp_path):
    table = tmp_path / "table.md"
    chosen = "(moco and not bf16) or embeddings or pruned or beside_bare"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/gpu", "--on=cpu", f"--table={table}", "-k", chosen],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    written = table.read_text()
    assert written.startswith("Measured on the CPU, beside itself")
    assert "| loss and gradients, moco | loss" in written
    assert written.strip() in done.stdout
