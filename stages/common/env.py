"""Every environment variable that is read, in one place.

They hold what belongs to a machine and not to an experiment, so none is a parameter, and another
machine does not invalidate the cache. One process gives the same bits each time; several draw other
random views and sum in another order, so their result differs as that of another seed does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stages.common.errors import SeppError

VARIABLES = {
    "SEPP_DATA_ROOT": "folder of the images (default: data/raw in the repository)",
    "SEPP_STATE_DIR": "folder of unfinished trainings (default: .state in the repository)",
    "SEPP_ACCELERATOR": "auto, cpu, gpu, mps … as Lightning names them (default: auto)",
    "SEPP_DEVICES": "devices per node: a count or auto (default: 1, or as torchrun says)",
    "SEPP_NODES": "number of nodes (default: 1, or as torchrun says)",
    "SEPP_WORKERS": "processes that load and decode images (default: number of cores, at most 8)",
    "SEPP_CHECKPOINT_SECONDS": "least time between two checkpoints of a training (default: 60)",
    "SEPP_LOG_SECONDS": "time between two progress lines where there is no terminal (default: 30)",
}


def _number(name: str, default: float, least: float, kind: type = float, other: str = "") -> Any:
    text = os.environ.get(name) or str(default)
    try:
        value = kind(text)
    except ValueError:
        value = float("nan")
    if not value >= least:
        noun = "whole number" if kind is int else "number"
        raise SeppError(f"environment: {name}={text}: not a {noun} of at least {least:g}{other}")
    return value


def repository() -> Path:
    """Root of the user's checkout. DVC names it even inside ``dvc exp run --temp`` copies."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def check_checkout() -> None:
    """Raises SeppError where a command that is of use in a checkout alone is run elsewhere."""
    if not Path("dvc.yaml").is_file():
        raise SeppError(
            f"{Path.cwd()}: is no checkout of the pipeline (no dvc.yaml): run the command in yours"
        )


def in_repository(name: str) -> Path:
    """The path that a user calls `name`: below the checkout, unless it is absolute or ``~``."""
    return repository() / Path(name).expanduser()


def data_root() -> Path:
    return in_repository(os.environ.get("SEPP_DATA_ROOT") or "data/raw")


def state_dir() -> Path:
    return in_repository(os.environ.get("SEPP_STATE_DIR") or ".state")


def accelerator() -> str:
    return os.environ.get("SEPP_ACCELERATOR") or "auto"


def devices() -> int | str:
    text = os.environ.get("SEPP_DEVICES")
    launched = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)  # by torchrun
    number = ("SEPP_DEVICES", launched, 1, int, ", nor auto")
    return text if text == "auto" else _number(*number)


def nodes() -> int:
    launched = int(os.environ.get("GROUP_WORLD_SIZE") or 1)  # by torchrun
    return _number("SEPP_NODES", launched, 1, int)


def workers() -> int:
    return _number("SEPP_WORKERS", min(os.cpu_count() or 1, 8), 0, int)


def checkpoint_seconds() -> float:
    return _number("SEPP_CHECKPOINT_SECONDS", 60, 0)


def log_seconds() -> float:
    return _number("SEPP_LOG_SECONDS", 30, 0)


def is_first() -> bool:
    """Whether this process is alone or rank 0 of a distributed run, whoever launched it.

    torchrun and Slurm set a rank; Lightning's own launcher a node's and one within the node.
    """
    ranks = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
    return all(int(os.environ.get(name) or 0) == 0 for name in ranks)


def one_of_several() -> bool:
    """Whether this process is one of those of a launcher: torchrun, Slurm, or Lightning's own,
    which sets a rank in all of them and, unlike their number, leaves it after the training."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_NTASKS") or 1) > 1


def local_rank() -> int:
    """Which of this node's devices is this process's."""
    return int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)


def on_gpu(available: bool) -> bool:
    """Whether CUDA is to be used, given whether there is a device."""
    return available and accelerator() in ("auto", "gpu", "cuda")
