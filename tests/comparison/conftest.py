"""A checkout with experiments, which every test of a comparison starts from."""

from __future__ import annotations

import pytest

from stages.common import env
from tests.comparison.checkout import Checkout


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Checkout:
    monkeypatch.chdir(tmp_path)
    for name in (*env.VARIABLES, "DVC_ROOT", "GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return Checkout(tmp_path)
