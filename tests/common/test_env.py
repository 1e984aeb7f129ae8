"""What the environment says of the machine."""

from __future__ import annotations

import ast
import os
import re

import pytest

from stages.common import env
from stages.common.errors import SeppError
from tests.conftest import REPOSITORY

NUMBERS = {
    "SEPP_DEVICES": env.devices,
    "SEPP_NODES": env.nodes,
    "SEPP_WORKERS": env.workers,
    "SEPP_CHECKPOINT_SECONDS": env.checkpoint_seconds,
    "SEPP_LOG_SECONDS": env.log_seconds,
}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in (*env.VARIABLES, "DVC_ROOT", "RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults(tmp_path):
    assert env.repository() == tmp_path
    assert env.data_root() == tmp_path / "data/raw"
    assert env.state_dir() == tmp_path / ".state"
    assert env.accelerator() == "auto"
    assert (env.devices(), env.nodes(), env.is_first()) == (1, 1, True)
    assert env.workers() == min(os.cpu_count(), 8)
    assert (env.checkpoint_seconds(), env.log_seconds()) == (60, 30)


def test_empty_is_unset(monkeypatch, tmp_path):
    for name in (*env.VARIABLES, "DVC_ROOT"):
        monkeypatch.setenv(name, "")
    test_defaults(tmp_path)


def test_in_a_copy_by_dvc_the_checkout_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "checkout"))
    assert env.data_root() == tmp_path / "checkout/data/raw"
    assert env.state_dir() == tmp_path / "checkout/.state"
    monkeypatch.setenv("SEPP_STATE_DIR", "elsewhere")
    assert env.state_dir() == tmp_path / "checkout/elsewhere"
    monkeypatch.setenv("SEPP_DATA_ROOT", str(tmp_path / "images"))
    assert env.data_root() == tmp_path / "images"


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SEPP_DATA_ROOT", "~/images")
    assert env.data_root() == tmp_path / "images"


def test_set_values(monkeypatch):
    for name, text, value in (
        ("SEPP_DEVICES", "4", 4),
        ("SEPP_DEVICES", "auto", "auto"),
        ("SEPP_NODES", "2", 2),
        ("SEPP_WORKERS", "0", 0),
        ("SEPP_CHECKPOINT_SECONDS", "0.5", 0.5),
        ("SEPP_LOG_SECONDS", "0", 0),
    ):
        monkeypatch.setenv(name, text)
        assert NUMBERS[name]() == value
    assert type(env.workers()) is int
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    assert env.accelerator() == "cpu"


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["many", "-1", "nan"])
def test_bad_numbers(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    said = rf"^environment: {name}={text}: not a (whole )?number of at least [01](, nor auto)?$"
    with pytest.raises(SeppError, match=said):
        NUMBERS[name]()


def test_devices_may_be_auto_and_it_says_so(monkeypatch):
    monkeypatch.setenv("SEPP_DEVICES", "many")
    with pytest.raises(SeppError, match=r"SEPP_DEVICES=many: not a whole number .*, nor auto$"):
        env.devices()


@pytest.mark.parametrize("name", ["SEPP_DEVICES", "SEPP_NODES", "SEPP_WORKERS"])
@pytest.mark.parametrize("text", ["1.5", "inf"])
def test_counts_are_whole(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    with pytest.raises(SeppError, match=f"{name}={text}: not a whole number"):
        NUMBERS[name]()


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK"])
def test_one_process_of_many_is_the_first(monkeypatch, name):
    monkeypatch.setenv(name, "0")
    assert env.is_first()
    monkeypatch.setenv(name, "3")
    assert not env.is_first()


def test_every_variable_that_is_read_is_listed():
    """Names in calls and subscripts, e.g. os.environ["SEPP_X"]; a mention in a message is none."""
    read = set()
    for file in (REPOSITORY / "stages").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            places = node.args if isinstance(node, ast.Call) else []
            places = [node.slice] if isinstance(node, ast.Subscript) else places
            for place in places:
                name = place.value if isinstance(place, ast.Constant) else None
                if isinstance(name, str) and re.fullmatch(r"SEPP_\w+", name):
                    read.add(name)
    assert read == set(env.VARIABLES)
