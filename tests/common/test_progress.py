"""Progress of long work in a log and on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from stages.common.progress import Progress
from tests.conftest import REPOSITORY


def work(total: int = 4, start: int = 0) -> None:
    with Progress("embed", total, "images", start) as progress:
        for i in range(start, total):
            progress.advance(1, loss=f"{i}.5")


def test_a_log_gets_one_line_at_the_end(monkeypatch, capsys):
    monkeypatch.setenv("SEPP_LOG_SECONDS", "1000")
    work()
    out, err = capsys.readouterr()
    assert out == ""
    pattern = r"embed: 4/4 images \(100 %\), [\d,.]+ images/s, 0 s left, loss 3\.5\n"
    assert re.fullmatch(pattern, err)


def test_a_log_gets_lines_now_and_then(monkeypatch, capsys):
    monkeypatch.setenv("SEPP_LOG_SECONDS", "0")
    work()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("embed: 1/4 images (25 %), ")
    assert not any("\r" in line for line in lines)


def test_a_failed_block_does_not_say_that_it_is_done(monkeypatch, capsys):
    monkeypatch.setenv("SEPP_LOG_SECONDS", "1000")

    def fail() -> None:
        with Progress("embed", 4, "images"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert capsys.readouterr().err == ""


def test_a_resumed_count_goes_on(monkeypatch, capsys):
    monkeypatch.setenv("SEPP_LOG_SECONDS", "0")
    work(start=3)
    assert capsys.readouterr().err.startswith("embed: 4/4 images (100 %)")


def test_nothing_to_do(capsys):
    work(total=0)
    assert capsys.readouterr().err.startswith("embed: 0/0 images (100 %)")


def test_a_terminal_gets_a_bar():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows, columns
    code = f"import runpy; runpy.run_path({__file__!r})['work']()"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "SEPP_LOG_SECONDS": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # how Linux tells that the other end was closed
        pass
    os.close(ours)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert out == b""
    text = shown.decode()
    assert "\r" in text
    assert re.search(r"embed: 100%.*4/4 .*images/s, loss 3\.5\]", text)
    assert "s left" not in text  # the log's line is for logs
