"""A user's mistake is one line and exit code 1; a defect keeps its traceback."""

from __future__ import annotations

import errno
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

from stages.common.command import command, one_line
from stages.common.errors import ParamError, SeppError
from tests.conftest import REPOSITORY


def run(error: BaseException | None) -> Result:
    @command
    def main() -> None:
        """Does it."""
        if error:
            raise error

    return CliRunner().invoke(main, [])


def test_success():
    result = run(None)
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize("error", [SeppError("a: b; do c"), ParamError("a", "b", "do c")])
def test_a_users_mistake(error):
    result = run(error)
    assert result.exit_code == 1
    assert result.output == f"Error: {error}\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk(code):
    result = run(OSError(code, "full", "data/pairs.parquet"))
    assert result.exit_code == 1
    assert result.output.startswith("Error: data/pairs.parquet: no space left on the device; ")
    assert result.output.count("\n") == 1
    assert one_line(OSError(code, "full")).startswith("output: no space left")


@pytest.mark.parametrize("code", [errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EROFS])
def test_what_may_not_be_written(code):
    result = run(OSError(code, "because", "data/.mine/x", None, "data/pairs.parquet"))
    assert result.exit_code == 1
    assert result.output.startswith("Error: data/pairs.parquet: ")
    assert "(because)" in result.output
    assert result.output.count("\n") == 1
    assert one_line(OSError(code, "because")) is None  # of nobody knows what


@pytest.mark.parametrize(
    "error",
    [ValueError("ours"), OSError(errno.EIO, "broken"), FileNotFoundError(2, "a"), KeyError()],
)
def test_a_defect_is_not_dressed_up(error):
    assert run(error).exception is error
    assert one_line(error) is None


def test_a_defect_keeps_its_traceback():
    code = "from stages.common.command import command\n@command\ndef main():\n    1 / 0\nmain([])\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_interrupted_it_is_aborted_without_a_traceback():
    result = run(KeyboardInterrupt())
    assert result.exit_code == 1
    assert result.output.strip() == "Aborted!"


def test_it_stays_a_command_with_its_help():
    @command
    @click.option("--count", type=int)
    def several_words(count: int) -> None:
        """Does it."""

    assert several_words.name == "several-words"
    assert "Does it." in CliRunner().invoke(several_words, ["--help"]).output
