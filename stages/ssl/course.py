"""How long a training is, and what is handed over where one continues another (a warm start)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer

from stages.common.errors import CheckpointError, SeppError
from stages.common.rounds import left_after
from stages.common.sections import Training
from stages.ssl.batches import Rows
from stages.ssl.encoder import load_strictly
from stages.ssl.methods import Method

HANDOVER = "training.safetensors"  # beside the encoder's weights
METHOD, OPTIMIZER = "method.", "optimizer."


class Course(NamedTuple):
    """A training, or the part of one that a run takes."""

    steps: int  # optimiser steps of this run
    epochs: int  # of the whole, by which schedules count; longer ones of the rows, if match_steps
    whole: int  # steps of the whole, over which the learning rate falls
    done: int = 0  # steps that were taken before
    first_epoch: int = 0  # of this run

    def epoch_of(self, step: int) -> int:
        """Epochs, by which schedules count, that are over after `step` steps of the whole."""
        return self.epochs * step // self.whole

    def steps_at(self, epochs: Sequence[int]) -> set[int]:
        """After which steps of the whole these epochs are over, if that is within this run."""
        steps = {epoch * self.whole // self.epochs for epoch in epochs}
        return {step for step in steps if self.done < step < self.done + self.steps}


class Start(NamedTuple):
    """What a training continues from."""

    steps: int  # that are done
    epochs: int
    optimizer: dict[int, dict[str, Tensor]]  # buffers of each parameter, by its place

    @classmethod
    def load(cls, folder: Path, method: Method) -> Start:
        """Read what `handover` wrote, the weights into `method`.

        Raises CheckpointError if it is not there, or of another method or network.
        """
        path = folder / HANDOVER
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["course"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            remedy = "set sampler.of_epochs to the epochs of the whole training"
            if folder.match(left_after("*")):
                remedy = "add the epoch to pretrain.handover"
            raise CheckpointError(
                f"{path}: no training to continue ({error}); {remedy} and run `dvc repro`"
            ) from None
        own = {k.removeprefix(METHOD): v for k, v in tensors.items() if k.startswith(METHOD)}
        load_strictly(method, own, str(path))
        buffers: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(OPTIMIZER):
                _, place, key = name.split(".")
                buffers.setdefault(int(place), {})[key] = value
        return cls(about["steps"], about["epochs"], buffers)

    def resume(self, optimizer: Optimizer) -> None:
        """Give a new optimiser the buffers of the old one."""
        optimizer.load_state_dict({**optimizer.state_dict(), "state": self.optimizer})


def course_of(training: Training, rows: Rows, start: Start | None) -> Course:
    """The course of `training` on `rows`, from scratch or from `start`.

    An epoch is one pass over all rows, or over the instance rows alone with match_steps. A training
    whose schedule is longer than itself (`of_epochs`) leaves the rest to who continues it.

    Raises SeppError for a batch above the rows of an epoch.
    """
    counted = rows.instances if getattr(training, "match_steps", False) else len(rows.anchor)
    per_epoch = counted // training.batch_size
    if not per_epoch:
        raise SeppError(
            f"params.yaml: pretrain.batch_size {training.batch_size} is above the {counted} rows "
            "that count as an epoch (pretrain.match_steps): lower it"
        )
    if start is None:
        whole = getattr(training, "of_epochs", None) or training.epochs
        return Course(training.epochs * per_epoch, whole, whole * per_epoch)
    left = (training.epochs - start.epochs) * per_epoch
    return Course(left, training.epochs, start.steps + left, start.steps, start.epochs)


def handover(
    method: Method, optimizer: Optimizer, course: Course, done: int
) -> tuple[dict, dict[str, str]]:
    """All that a training needs to go on after `done` steps: tensors, and the facts beside them."""
    tensors = {METHOD + name: value for name, value in method.state_dict().items()}
    for place, buffers in optimizer.state_dict()["state"].items():
        for key, value in buffers.items():
            if isinstance(value, Tensor):
                tensors[f"{OPTIMIZER}{place}.{key}"] = value
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    # As one entry: safetensors writes several in no fixed order.
    return plain, {"course": json.dumps({"steps": done, "epochs": course.epoch_of(done)})}
