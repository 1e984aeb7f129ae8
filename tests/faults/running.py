"""Stages as processes of their own, which may be killed.

By hand a stage is forked from this process, which has loaded torch but never used it: so a kill
meets the stage at work, and not Python at its imports.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.faults.bench import arguments, clear, left_over

LOG = "log.txt"
ENVIRONMENT = {"SEPP_ACCELERATOR": "cpu", "SEPP_CHECKPOINT_SECONDS": "0", "SEPP_WORKERS": "0"}
PATIENCE = 300.0  # seconds


def variables(folder: Path) -> dict[str, str]:
    own = {"SEPP_STATE_DIR": str(folder / ".state"), "SEPP_DATA_ROOT": str(folder / "raw")}
    return {**ENVIRONMENT, **own}


def start(folder: Path, stage: str, before: Callable[[], None] | None = None) -> BaseProcess:
    """The stage, by hand, on `folder`; `before` runs in its process first."""
    # Not as part of the fork, which should have little to do.
    module = importlib.import_module(f"stages.{stage}")

    def work() -> None:
        os.chdir(folder)
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.environ.pop("DVC_ROOT", None)
        os.environ.update(variables(folder))
        if before:
            before()
        module.main(arguments(stage), prog_name=stage)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def end(process: BaseProcess) -> int:
    process.join(PATIENCE)
    assert process.exitcode is not None, "it does not end"
    return process.exitcode


def finish(folder: Path, stage: str) -> float:
    """Run the stage to its end, as DVC would; the seconds that it took."""
    clear(folder, stage)
    began = time.monotonic()
    code = end(start(folder, stage))
    assert code == 0, said(folder)
    assert not left_over(folder), left_over(folder)
    return time.monotonic() - began


def fails(folder: Path, stage: str, before: Callable[[], None] | None = None) -> str:
    """The one line with which the stage ends, exit code 1, nothing half-written."""
    clear(folder, stage)
    code = end(start(folder, stage, before))
    assert code == 1, f"exit code {code}: {said(folder)}"
    return error_line(said(folder), folder)


def error_line(text: str, folder: Path) -> str:
    assert "Traceback" not in text, text[-600:]
    (line,) = [line for line in text.splitlines() if line.startswith("Error: ")]
    assert not left_over(folder), left_over(folder)
    return line.replace(f"{folder}/", "")


def said(folder: Path) -> str:
    """What the last stage wrote, without the start of long logs."""
    return (folder / LOG).read_text()[-3000:]


def spawn(folder: Path, *command: str) -> subprocess.Popen:
    """A real command, e.g. ``dvc repro``, in a process group of its own, its output to the log."""
    binaries = str(Path(sys.executable).parent)
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    names = {**os.environ, **variables(folder), "PATH": path, "PYTHONPATH": str(folder)}
    names.pop("DVC_ROOT", None)
    with (folder / LOG).open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=names,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for(seen: Callable[[], object], process: subprocess.Popen | BaseProcess) -> None:
    """Until `seen` gives something, which it must before the process ends."""
    began = time.monotonic()
    running = process.is_alive if isinstance(process, BaseProcess) else lambda: not process.poll()
    while not seen():
        assert running(), "it ended too early"
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.01)
