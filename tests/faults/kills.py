"""kill -9 at random moments, of stages and of the whole `dvc repro`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

from tests.faults.bench import Bench, bits, clear
from tests.faults.cases import Told, case
from tests.faults.running import finish, left_over, said, spawn, start
from tests.ssl.tiny import METHODS

FEW = 3  # kills with --quick


def kill_at_random(folder: Path, stage: str, count: int, random: Random, seconds: float) -> str:
    """Kill the stage `count` times, each time within `seconds` of its start; what happened. In
    between it may end: then it starts afresh."""
    whole = bits(folder, stage)
    resumed = ended = kills = 0
    while kills < count:
        clear(folder, stage)
        process = start(folder, stage)
        process.join(random.uniform(0, seconds))
        process.kill()
        process.join()
        resumed += "resuming from" in said(folder)
        killed = process.exitcode == -signal.SIGKILL
        kills, ended = kills + killed, ended + (not killed)
        now = bits(folder, stage)
        assert all(whole[name] == digest for name, digest in now.items()), "a file is half-written"
        assert killed or now == whole, f"after {kills} kills: {said(folder)[-300:]}"
    finish(folder, stage)
    assert bits(folder, stage) == whole, "other bits"
    resumed += "resuming from" in said(folder)
    return f"same bits{f'; resumed {resumed} times' * bool(resumed)}; {1 + ended} ends compared"


def killed(bench: Bench, stage: str, **changes: str) -> Told:
    name = " ".join(["killed", stage, *changes.values()])
    folder = bench.results(name.replace(" ", "-"), **changes)
    finish(folder, stage)  # loads what is loaded late
    seconds = finish(folder, stage)
    return Told(
        bench.kills, kill_at_random(folder, stage, bench.kills, bench.random(name), seconds)
    )


for _stage in ("sampler", "pretrain"):
    for _method in METHODS:
        _name = f"kill -9, {_stage}, {_method}"
        _change = {f"{_stage}__method": _method}
        case(_name, quick=_method == "moco", stage=_stage, **_change)(killed)
for _stage in ("linear_eval", "mine", "embed"):
    case(f"kill -9, {_stage}", quick=True, stage=_stage)(killed)


@case("kill -9 of `dvc repro` and all that it started")
def killed_repro(bench: Bench) -> Told:
    checkout, random = bench.checkout("killed-repro"), bench.random("repro")
    count = max(2, bench.kills // 4)
    for _ in range(count):
        process = spawn(checkout.folder, "dvc", "repro")
        time.sleep(random.uniform(1, 2 * bench.seconds / count))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return Told(count, repaired(bench, checkout))


@case("kill -9 of dvc alone, and `dvc repro` again at once")
def killed_dvc(bench: Bench) -> Told:
    """Its stage goes on, and the new one must not meddle with it."""
    checkout = bench.checkout("killed-dvc")
    process = spawn(checkout.folder, "dvc", "repro")
    while not list(checkout.folder.glob(".state/sampler/*/last.ckpt")):
        assert process.poll() is None, said(checkout.folder)
        time.sleep(0.05)
    process.kill()
    process.wait()
    return Told(1, repaired(bench, checkout))


def repaired(bench: Bench, checkout) -> str:
    """What `dvc repro` now makes is what an undisturbed one did."""
    checkout.dvc("repro")
    assert bits(checkout.folder) == bench.bits, differing(bits(checkout.folder), bench.bits)
    assert not left_over(checkout.folder), left_over(checkout.folder)
    assert checkout.ran("repro") == [], "it runs again"
    return "`dvc repro` ends in the same bits, and has nothing to do then"


def differing(now: dict[str, str], whole: dict[str, str]) -> str:
    return f"differ: {sorted(n for n in now.keys() | whole.keys() if now.get(n) != whole.get(n))}"
