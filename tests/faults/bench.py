"""The small project that faults are tried on, and copies of it."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import random
import shutil
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.common import artifacts
from tests.conftest import write_params
from tests.ssl.tiny import METHODS, values
from tests.test_pipeline import SMALL, Checkout

ARM, SEED = "sepp", 0
PER_ARM = ("combine", "pretrain", "linear_eval")
STAGES = ("prepare", "sampler", "embed", "explore", "mine", *PER_ARM, "report")
PARAMS: dict[str, Any] = {
    **SMALL,
    "data.limit": 120,
    "arms": [ARM],
    "seeds": [SEED],
    "sampler.backbone": "resnet10-w8",
    "pretrain.backbone": "resnet10-w8",
    "sampler.epochs": 6,
    "pretrain.epochs": 6,
    "embed.k": 100,
    "sepp.min": 0.8,
    "linear_eval.epochs": 20,
    "linear_eval.milestones": [10, 15],
    **{f"methods.{name}": values(name) for name in METHODS},
}


def arguments(stage: str) -> tuple[str, ...]:
    return ("--arm", ARM, "--seed", str(SEED)) if stage in PER_ARM else ()


def outputs_of(stage: str) -> list[Path]:
    """What DVC removes before it runs the stage; its cost, which differs from run to run, last."""
    kind = importlib.import_module(f"stages.{stage}").Outputs
    made = kind.of(ARM, SEED) if stage in PER_ARM else kind()
    return [getattr(made, field.name) for field in dataclasses.fields(made)]


def clear(folder: Path, stage: str) -> None:
    for path in outputs_of(stage):
        artifacts.remove(folder / path)


def bits(folder: Path, stage: str | None = None) -> dict[str, str]:
    """Digests of all results below `folder`, or of one stage's; not of costs, nor hidden files."""
    names = map(str, outputs_of(stage)) if stage else ("data", "models", "reports")
    paths = [folder / name for name in names]
    files = [f for path in paths for f in (path.rglob("*") if path.is_dir() else [path])]
    found = {str(f.relative_to(folder)): f for f in files if f.is_file()}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in sorted(found.items())
        if "/cost/" not in name and not any(p.startswith(".") for p in Path(name).parts)
    }


def left_over(folder: Path) -> list[str]:
    """Half-written files."""
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*.partial"))


class Bench:
    """Where cases work: `folder`, how often each kills, and the random numbers of each."""

    def __init__(self, folder: Path, kills: int, seed: int, kept: Path | None = None) -> None:
        self.folder, self.kills, self.seed = folder, kills, seed
        self.place = (kept or folder) / "whole"
        self.seconds = 60.0  # that a whole `dvc repro` takes

    def random(self, case: str) -> random.Random:
        return random.Random(f"{self.seed} {case}")

    @cached_property
    def whole(self) -> Checkout:
        """On which `dvc repro` ran, undisturbed."""
        if (self.place / "dvc.lock").exists():
            return _at(self.place)
        checkout = Checkout(self.place, PARAMS)
        began = time.monotonic()
        checkout.dvc("repro")
        self.seconds = time.monotonic() - began
        checkout.commit("results")
        return checkout

    @cached_property
    def bits(self) -> dict[str, str]:
        return bits(self.whole.folder)

    def checkout(self, name: str, fresh: bool = True) -> Checkout:
        """A copy of it; if `fresh`, as before its `dvc repro`."""
        copy = self.folder / name
        checkout = _at(Path(shutil.copytree(self.whole.folder, copy, symlinks=True)))
        if fresh:
            for stage in STAGES:
                clear(checkout.folder, stage)
            for left in ("dvc.lock", ".dvc/cache", ".dvc/tmp", ".state"):
                artifacts.remove(checkout.folder / left)
        return checkout

    def results(self, name: str, into: Path | None = None, **changes: Any) -> Path:
        """Its params, with `changes` (`__` for a dot), data and models, for stages by hand."""
        folder = into or self.folder / name
        for part in ("data", "models", "reports"):
            shutil.copytree(self.whole.folder / part, folder / part, dirs_exist_ok=True)
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        write_params(folder / "params.yaml", {**PARAMS, **changes})
        return folder


def _at(folder: Path) -> Checkout:
    """The checkout that is there already."""
    checkout = Checkout.__new__(Checkout)
    checkout.folder = folder
    return checkout
