"""Ctrl-C, and the SIGTERM of a scheduler: real processes, from their imports on."""

from __future__ import annotations

import os
import signal
import time

from tests.faults.bench import Bench, arguments, bits, clear
from tests.faults.cases import Told, case
from tests.faults.kills import repaired
from tests.faults.running import error_line, finish, left_over, said, spawn, wait_for

TRAINED = ("sampler", "pretrain", "linear_eval")


def stopped(bench: Bench, stage: str, number: signal.Signals) -> Told:
    """While it trains; after that it may end of itself."""
    checkout = bench.checkout(f"{number.name}-{stage}", fresh=False)
    folder = checkout.folder
    bench.results("", into=folder)
    finish(folder, stage)
    whole = bits(folder, stage)
    clear(folder, stage)
    process = spawn(folder, f"stages.{stage}", *arguments(stage))
    wait_for(lambda: list(folder.glob(f".state/{stage}/*/last.ckpt")), process)
    process.send_signal(number)
    code = process.wait()
    line = error_line(said(folder), folder)
    assert code == 1, f"exit code {code}: {line}"
    finish(folder, stage)
    assert bits(folder, stage) == whole, "other bits"
    return Told(1, f"exit code 1, {line}; the rerun resumes to the same bits")


for _stage in TRAINED:
    for _number in (signal.SIGTERM, signal.SIGINT):
        _name = f"{_number.name} to {_stage}"
        case(_name, quick=_name == "SIGTERM to sampler", stage=_stage, number=_number)(stopped)


@case("Ctrl-C while Python loads libraries")
def interrupted_early(bench: Bench) -> Told:
    folder, random = bench.results("interrupted-early"), bench.random("early")
    (folder / "stages").symlink_to(bench.whole.folder / "stages")
    loud = 0
    for _ in range(bench.kills):
        process = spawn(folder, "stages.sampler")
        time.sleep(random.uniform(0.2, 3))
        process.send_signal(signal.SIGINT)
        process.wait()
        loud += "Traceback" in said(folder)
        assert not left_over(folder), left_over(folder)
    assert loud <= bench.kills // 5, f"{loud} tracebacks of {bench.kills}"
    return Told(bench.kills, f"{bench.kills - loud} quiet, {loud} with a traceback of Python's own")


@case("Ctrl-C twice, in `dvc repro`")
def interrupted_twice(bench: Bench) -> Told:
    checkout = bench.checkout("interrupted")
    process = spawn(checkout.folder, "dvc", "repro")
    wait_for(lambda: list(checkout.folder.glob(".state/sampler/*/last.ckpt")), process)
    for _ in range(2):  # a terminal sends it to all
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
    assert process.wait() != 0
    assert "Traceback" not in said(checkout.folder), said(checkout.folder)
    return Told(1, repaired(bench, checkout))


@case("SIGTERM to `dvc repro`")
def terminated(bench: Bench) -> Told:
    checkout = bench.checkout("terminated")
    process = spawn(checkout.folder, "dvc", "repro")
    wait_for(lambda: list(checkout.folder.glob(".state/sampler/*/last.ckpt")), process)
    os.killpg(process.pid, signal.SIGTERM)  # as Slurm and systemd do, to all
    assert process.wait() != 0
    return Told(1, repaired(bench, checkout))
