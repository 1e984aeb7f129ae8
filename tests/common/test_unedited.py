"""An edit of params, inputs or code while a stage runs is refused."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.common.errors import StaleRunError
from stages.common.unedited import unedited


@pytest.fixture
def inputs(tmp_path) -> list[Path]:
    (tmp_path / "model").mkdir()
    for name in ("pairs", "model/weights", "model/config"):
        (tmp_path / name).write_text(name)
    return [tmp_path / "pairs", tmp_path / "model", tmp_path / "absent"]


def during(do: Callable[[], object], inputs: list[Path], current: Callable = dict) -> None:
    with unedited(current, inputs):
        do()


def test_undisturbed(inputs):
    during(lambda: None, inputs)


def test_params(inputs):
    values = [0.9]
    with pytest.raises(StaleRunError, match=r"^params\.yaml: edited while this ran.*`dvc repro`"):
        during(lambda: values.append(0.8), inputs, lambda: list(values))


@pytest.mark.parametrize("name", ["pairs", "model/weights"])
@pytest.mark.parametrize(
    "edit", [lambda f: f.write_text("another length"), Path.unlink, lambda f: os.utime(f, (1, 1))]
)
def test_inputs(inputs, tmp_path, name, edit):
    with pytest.raises(StaleRunError, match=f"^{tmp_path / name}: edited while this ran"):
        during(lambda: edit(tmp_path / name), inputs)


def test_what_appears_where_nothing_was(inputs, tmp_path):
    with pytest.raises(StaleRunError, match="absent"):
        during((tmp_path / "absent").touch, inputs)


def test_code_that_is_loaded(inputs, tmp_path, monkeypatch):
    module = types.ModuleType("stages.made")
    module.__file__ = str(tmp_path / "pairs")
    monkeypatch.setitem(sys.modules, "stages.made", module)
    with pytest.raises(StaleRunError, match="pairs"):
        during(lambda: (tmp_path / "pairs").write_text("new code"), [])


def test_an_error_of_the_block_is_not_hidden(inputs, tmp_path):
    with pytest.raises(ZeroDivisionError):
        during(lambda: (tmp_path / "pairs").unlink() or 1 / 0, inputs)
