"""A data root that is missing or empty, for every data set that needs one."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import datasets
from stages.common.errors import DataError
from stages.common.plugins import plugins
from stages.common.sections import BUNDLED

NAMES = [name for name in plugins("datasets") if name not in BUNDLED]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_root_is_named_with_its_remedy(name: str, tmp_path: Path):
    with pytest.raises(DataError) as error:
        datasets.read(name, tmp_path / "absent")
    message = str(error.value)
    assert str(tmp_path / "absent") in message
    assert "SEPP_DATA_ROOT" in message
    assert name in message
    assert "\n" not in message


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_root_is_named_on_one_line(name: str, tmp_path: Path):
    with pytest.raises(DataError) as error:
        datasets.read(name, tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
