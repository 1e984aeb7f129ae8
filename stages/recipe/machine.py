"""What the machine has that a training runs on."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

from stages.common import env

GIB = 2**30
BUSY = 0.75  # processes a core: above, other work is in all that is timed


@dataclass(frozen=True)
class Machine:
    kind: str  # cpu | cuda | mps
    name: str  # of the GPU, "" without one
    devices: int  # that a training uses, as SEPP_DEVICES and SEPP_NODES say
    there: int  # GPUs that there are on this node
    cores: int  # that this process may use
    workers: int  # SEPP_WORKERS
    memory: float  # GiB
    device_memory: float  # GiB of a GPU, 0 without one
    load: float = 0.0  # processes that ran or waited to run, on average of the last minute
    all_cores: int = 1  # of the machine, whose load that is

    @property
    def gpu(self) -> bool:
        return self.kind != "cpu"

    @property
    def busy(self) -> bool:
        """Whether so much else runs that all takes longer."""
        return self.load > BUSY * self.all_cores

    @property
    def decoders(self) -> float:
        """How many times the workers of one process the cores have for all, one a device."""
        return max(1.0, min(self.devices, self.cores / max(1, self.workers)))

    @property
    def room(self) -> float:
        """GiB that decoded images may take: a quarter of the memory, and of the GPU's."""
        least = min(self.memory, self.device_memory or self.memory)
        return max(0.1, round(least / 4, 1))

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' * (self.cores > 1)}, {self.memory:.0f} GiB"
        if not self.gpu:
            return f"{cores}, no GPU"
        memory = f" of {self.device_memory:.0f} GiB" if self.device_memory else ""
        return f"{self.devices} x {self.name}{memory}, {cores}"


def _allowed() -> float:
    """Bytes that a container may use."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # another system, or "max": no limit
            return int(Path(file).read_text())
    return math.inf


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not on every system
        return 0.0


def machine() -> Machine:
    """This one, as the environment (SEPP_ACCELERATOR, SEPP_DEVICES) lets a training use it."""
    import torch  # late: it takes seconds, and not all commands need it

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), _allowed()) / GIB
    kind, name, there, device_memory = "cpu", "", 0, 0.0
    if env.on_gpu(torch.cuda.is_available()):
        about = torch.cuda.get_device_properties(env.local_rank())
        kind, name, there = "cuda", about.name, torch.cuda.device_count()
        device_memory = about.total_memory / GIB
    elif env.accelerator() in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        kind, name, there = "mps", "Apple GPU", 1
    wanted = env.devices()
    each = max(1, there) if wanted == "auto" else int(wanted)
    return Machine(
        kind=kind,
        name=name,
        devices=each * env.nodes(),
        there=there,
        cores=cores or 1,
        workers=env.workers(),
        memory=memory,
        device_memory=device_memory,
        load=_load(),
        all_cores=os.cpu_count() or 1,
    )
