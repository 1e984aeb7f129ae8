"""An edit of params, inputs or code while a stage runs is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.common import closure
from stages.common.errors import StaleRunError
from stages.common.unedited import unedited


@pytest.fixture
def inputs(tmp_path) -> list[Path]:
    (tmp_path / "model").mkdir()
    for name in ("pairs", "model/weights", "model/config"):
        (tmp_path / name).write_text(name)
    return [tmp_path / "pairs", tmp_path / "model", tmp_path / "absent"]


def during(do: Callable[[], object], inputs: list[Path], current: Callable = dict) -> None:
    with unedited("stages.common.bins", current, inputs):
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


def test_what_is_new_in_a_folder(inputs, tmp_path):
    with pytest.raises(StaleRunError, match="model/more"):
        during((tmp_path / "model/more").touch, inputs)


def test_code(tmp_path, monkeypatch):
    """The stage's own file, which is loaded as `__main__`, included; not a time alone."""
    monkeypatch.setattr(closure, "ROOT", tmp_path)
    monkeypatch.setattr("stages.common.unedited.ROOT", tmp_path)
    (tmp_path / "stages/common").mkdir(parents=True)
    file = tmp_path / "stages/common/bins.py"
    file.write_text("x = 1")
    during(lambda: os.utime(file, (1, 1)), [])
    with pytest.raises(StaleRunError, match=r"^stages/common/bins\.py: edited"):
        during(lambda: file.write_text("x = 2"), [])


def test_an_error_of_the_block_is_not_hidden(inputs, tmp_path):
    with pytest.raises(ZeroDivisionError):
        during(lambda: (tmp_path / "pairs").unlink() or 1 / 0, inputs)
