"""Trainings that are there to be timed: the real ones, which end when the time is up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stages.evaluation._linear import Probe
from stages.recipe.clock import Stopwatch
from stages.ssl.pretraining import Pretraining


@dataclass(frozen=True)
class Nowhere:
    """In the place of a training's state, for a training that is not to be kept."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.ckpt"


class Timed:
    """Beside a `Fit`: notes when each step ends, and ends when that was for the last time.

    Args:
        until: see `Stopwatch`.
    """

    def __init__(self, until: float, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.until = until

    def on_train_start(self) -> None:
        self.watch = Stopwatch(self.until)

    def on_train_batch_end(self, *arguments: Any) -> None:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        if self.watch.lap():
            self.steps = len(self.watch.ends)
        super().on_train_batch_end(*arguments)


class TimedPretraining(Timed, Pretraining):
    pass


class TimedProbe(Timed, Probe):
    pass
