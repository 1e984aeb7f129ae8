"""What a stage costs: seconds, images per second, device, peak memory; a metric of DVC.

A cost is written to `reports/metrics/cost/`, beside what a stage makes and never into it, and no
stage reads it: another cost makes nothing stale, and no cached artefact differs from run to run. In
dvc.yaml it is one of the stage's `metrics` with `cache: false`, which is in git, and in DVC's run
cache, too: a stage that DVC restores has the cost of the run that made it, and not none. (Plain
`outs` with `cache: false` would turn the run cache off.) Time is from the stage's beginning, which
the start of Python and the loading of libraries is not of.

    with measured(outputs.cost) as cost:
        cost.images = run(...)

A training that is killed and resumed costs what its sessions do together, up to what each has kept:
`TrainingState` has a cost of its own, and keeps it whenever a checkpoint has been saved.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.common import artifacts, env

FOLDER = Path("reports/metrics/cost")
MIB = 2**20


def cost_path(stage: str, item: str | None = None) -> Path:
    """Where the cost of a stage is, or of one `item`, such as sepp-0, of its matrix."""
    return FOLDER / (f"{stage}/{item}.json" if item else f"{stage}.json")


class Cost:
    """What has been spent since it was made, and by earlier sessions of the same training.

    Args:
        kept: the file by which a session tells the next one; it is read here.
    """

    def __init__(self, kept: Path | None = None) -> None:
        earlier = (kept and told(kept)) or {}
        self._kept = kept
        self._before = earlier.get("seconds", 0.0)
        self._sessions = earlier.get("sessions", 0) + 1
        self._peaks = earlier.get("peaks", {})
        # That went through the network, or were read, by all sessions; of a training its rows.
        self.images: int | None = None
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def keep(self) -> None:
        """Tell a later session what has been spent until now."""
        if self._kept and env.is_first():
            told = {"seconds": self.seconds, "sessions": self._sessions}
            artifacts.write_json(self._kept, {**told, "peaks": self._highest()})

    def write(self, path: Path) -> None:
        """Of several processes of one training the first writes."""
        if env.is_first():
            # A list, which DVC leaves out of `dvc metrics diff`: there it would bury the results.
            artifacts.write_json(path, {"cost": [self.facts()]})

    def facts(self) -> dict[str, Any]:
        """What is written: seconds of wall-clock time; images per second of all of it, null where
        none were counted; peak memory in MiB, the largest of any session, of this process, and of
        its GPU where it used one."""
        seconds, peaks = self.seconds, self._highest()
        return {
            "seconds": round(seconds, 3),
            "images": self.images,
            "images_per_second": round(self.images / seconds, 2) if self.images else None,
            "device": device(),
            "peak_memory_mib": peaks["memory"],
            "peak_gpu_memory_mib": peaks["gpu"],
            "sessions": self._sessions,
        }

    def _highest(self) -> dict[str, int | None]:
        now = {"memory": _peak_memory(), "gpu": _peak_gpu_memory()}
        return {
            name: max(
                (x for x in (now[name], self._peaks.get(name)) if x is not None), default=None
            )
            for name in now
        }


def told(kept: Path) -> Any:
    """What an earlier session of a training told this one, in JSON; None where there is nothing, or
    what a power cut has left of it."""
    try:
        return json.loads(kept.read_text())
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def measured(path: Path) -> Iterator[Cost]:
    """What the block costs, written to `path` where it ends well."""
    cost = Cost()
    yield cost
    cost.write(path)


def facts_of(text: str) -> dict[str, Any]:
    """What a file of costs says, as `Cost.facts`."""
    return json.loads(text)["cost"][0]


def device() -> str:
    """What the stage ran on: its GPU if torch has used one, else the processor and its cores."""
    torch = sys.modules.get("torch")  # not loaded for this
    if torch is not None and torch.cuda.is_initialized():
        many = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        return f"{f'{many} x ' if many > 1 else ''}{torch.cuda.get_device_name()}"
    cores = _cores()
    return f"{_processor()}, {cores} core{'s' * (cores > 1)}"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _peak_memory() -> int | None:
    """MiB, the most that this process has held; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / MIB) if sys.platform == "darwin" else round(peak / 1024)


def _peak_gpu_memory() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return round(torch.cuda.max_memory_allocated() / MIB)
