"""A checkout where it is not expected: twice in use, not to be written, in a strange place."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from stages.common import artifacts
from tests.faults.bench import Bench, bits
from tests.faults.cases import Skipped, Told, case
from tests.faults.kills import differing, repaired
from tests.faults.running import said, spawn, wait_for


@case("two `dvc repro` at once")
def twice(bench: Bench) -> Told:
    checkout = bench.checkout("twice")
    first = spawn(checkout.folder, "dvc", "repro")
    wait_for(lambda: "Running stage" in said(checkout.folder), first)
    told = checkout.dvc("repro", fails=True)
    assert "Traceback" not in told, told
    assert "is busy" in told, told
    assert first.wait() == 0, said(checkout.folder)
    refused = "DVC refuses the second, as a file of the first is busy"
    return Told(1, f"{refused}; {repaired(bench, checkout)}")


@case("a checkout that may not be written")
def read_only(bench: Bench) -> Told:
    """For root, who may write anything, by a mount."""
    checkout = bench.checkout("read-only", fresh=False)
    folder = str(checkout.folder)
    for step in (["--bind", folder], ["-o", "remount,ro,bind"]):
        command = ["mount", *step, folder]
        if os.getuid() or subprocess.run(command, capture_output=True).returncode:
            raise Skipped("a read-only mount needs root")
    try:
        tried = [checkout.dvc("repro", fails=True)]
        tried += [
            checkout.run("python", "-m", f"stages.{s}", fails=True) for s in ("embed", "mine")
        ]
        tried += [checkout.run("sepp", "preset", "digits", fails=True)]
    finally:
        for _ in range(2):
            subprocess.run(["umount", folder], capture_output=True)
    for told in tried:
        assert "Traceback" not in told, told[-500:]
        assert "ead-only file system" in told, told
    return Told(len(tried), f"each says so in a line; {repaired(bench, checkout)}")


@case("times of change of all files in the future, and long ago")
def clock(bench: Bench) -> Told:
    """As when the clock was set back, or forward, since."""
    checkout = bench.checkout("clock", fresh=False)
    for days in (400, -4000):
        then = time.time() + days * 86_400
        for folder, names, files in os.walk(checkout.folder):
            names[:] = [name for name in names if name != ".git"]
            for name in files:
                os.utime(Path(folder, name), (then, then))
        assert checkout.ran("repro") == [], "a stage runs"
    assert bits(checkout.folder) == bench.bits
    return Told(2, "`dvc repro` has nothing to do")


@case("a path with spaces, quotes and an accent")
def strange_place(bench: Bench) -> Told:
    checkout = bench.checkout('it\'s "my" é folder (1)')
    return Told(1, repaired(bench, checkout))


@case("an unpacked archive, without git")
def no_git(bench: Bench) -> Told:
    checkout = bench.checkout("archive")
    artifacts.remove(checkout.folder / ".git")
    told = checkout.dvc("repro", fails=True)
    assert "is not a git repository" in told, told
    assert "Traceback" not in told, told
    said_by_doctor = checkout.run("sepp", "doctor", fails=True)
    assert "dvc config --local core.no_scm true" in said_by_doctor, said_by_doctor
    checkout.dvc("config", "--local", "core.no_scm", "true")
    checkout.dvc("repro")
    assert bits(checkout.folder) == bench.bits, differing(bits(checkout.folder), bench.bits)
    return Told(1, "DVC says so, `sepp doctor` names the remedy; with it, same bits")


@case("params.yaml edited while `dvc repro` runs")
def edited(bench: Bench) -> Told:
    checkout = bench.checkout("edited")
    params = checkout.folder / "params.yaml"
    text = params.read_text()
    process = spawn(checkout.folder, "dvc", "repro")
    wait_for(lambda: list(checkout.folder.glob(".state/sampler/*/last.ckpt")), process)
    params.write_text(text.replace("batch_size: 16", "batch_size: 8"))
    assert process.wait() != 0, "DVC took the result"
    assert "were edited while this training ran" in said(checkout.folder)
    params.write_text(text)
    return Told(1, f"refused in one line; with the edit undone, {repaired(bench, checkout)}")
