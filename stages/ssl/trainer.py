"""The one training loop: Lightning runs it, and a killed run continues to the same bits.

All randomness of a step is drawn from generators seeded with (seed, epoch, step), so that nothing
but weights, buffers, optimiser and counters needs to be saved.
"""

from __future__ import annotations

import logging
import math
import os
import struct
import time
import warnings
import zipfile
from pathlib import Path

import lightning.pytorch as lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from stages.common import env
from stages.common.errors import SeppError
from stages.common.progress import Progress
from stages.common.state import Part
from stages.ssl.batches import Batches, seed_draws, step_seed

log = logging.getLogger(__name__)
# Of cuBLAS, for the same sums each time; it counts where no product has been computed yet.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
History = list[dict[str, float | None]]


class Fit(lightning.LightningModule):
    """Base of what `fit` trains. Subclasses give `training_step` and `configure_optimizers`.

    Args:
        batches: what it is trained on; their seed is that of every step's draws.
        steps: optimiser steps in all, which learning-rate schedules need to know.
    """

    remedy = "lower the learning rate"  # for a loss that diverges
    deterministic = True  # on a GPU, too: the same bits after each resume

    def __init__(self, batches: Batches, steps: int) -> None:
        super().__init__()
        self.batches, self.steps = batches, steps
        self.history: History = []  # one row an epoch
        self.sums: dict[str, Tensor] = {}
        self.shares: dict[str, Tensor] = {}  # each (2,): how many, of how many
        self.count = 0

    def train_dataloader(self) -> DataLoader:
        loader = self.batches.loader()
        # Lightning fetches the first batches before it tells the sampler which epoch it is.
        loader.sampler.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)
        return loader

    def reseed(self, step: int, part: int, rank: int = 0) -> None:
        """Seed torch for one part of one step, alike in an unbroken run and a resumed one."""
        seed_draws(step_seed(self.batches.seed, self.epoch, step, part, rank))

    @property
    def epoch(self) -> int:
        """Of the whole training, where this continues another one."""
        return self.batches.first_epoch + self.current_epoch

    def record(self, **values: Tensor) -> None:
        """Add to the epoch's means; stays on the device, so that no step waits for it."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        self.count += 1

    def record_share(self, name: str, yes: Tensor, among: Tensor) -> None:
        """Add to a share over the whole epoch: of those in `among`, the ones in `yes` (bools)."""
        counts = torch.stack([(yes & among).sum(), among.sum()])
        self.shares[name] = self.shares.get(name, 0) + counts

    def on_train_batch_end(self, *_: object) -> None:
        # Not Trainer(max_steps=…), with which Lightning does not resume at an epoch's boundary.
        self.trainer.should_stop = self.trainer.global_step >= self.steps

    def on_train_epoch_end(self) -> None:
        reduce = self.trainer.strategy.reduce  # over all processes
        means = {
            name: float(reduce(total / self.count, reduce_op="mean"))
            for name, total in self.sums.items()
        }
        for name, counts in self.shares.items():
            yes, among = reduce(counts, reduce_op="sum").tolist()
            means[name] = yes / among if among else None
        self.sums, self.shares, self.count = {}, {}, 0
        if not math.isfinite(means["loss"]):
            raise SeppError(
                f"the loss became {means['loss']} in epoch {self.epoch + 1}: {self.remedy}"
            )
        rate = self.optimizers().param_groups[0]["lr"]
        self.history.append({"epoch": self.epoch + 1, **means, "lr": rate})

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.history = checkpoint["history"]


class SaveState(Checkpoint):
    """Writes the training's state at an epoch's end, if the last time is long enough ago."""

    def __init__(self, state: Part) -> None:
        self.state = state
        self.saved = 0.0

    def on_train_start(self, *_: object) -> None:
        self.saved = time.monotonic()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule
    ) -> None:
        now = time.monotonic()
        due = trainer.strategy.broadcast(now - self.saved >= env.checkpoint_seconds())
        # An epoch cut short is the last, and not one that Lightning could resume after.
        if not due or trainer.global_step >= module.steps:
            return
        self.saved = now
        partial = self.state.checkpoint.with_suffix(".partial")
        try:
            # Every rank must call it; rank 0 writes.
            trainer.save_checkpoint(partial, weights_only=False)
        except OSError as error:
            error.filename = str(self.state.checkpoint)  # Lightning's error does not name it
            partial.unlink(missing_ok=True)
            raise
        if trainer.is_global_zero:
            os.replace(partial, self.state.checkpoint)
            self.state.saved()
        trainer.strategy.barrier()


class ShowProgress(lightning.Callback):
    def __init__(self, label: str) -> None:
        self.label = label

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.bar = Progress(self.label, module.steps, "steps", start=trainer.global_step)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        notes = {"epoch": str(module.epoch + 1)}
        if module.history:
            notes["loss"] = f"{module.history[-1]['loss']:.4f}"
        self.bar.advance(1, **notes)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.bar.close()


def lightning_precision(name: str) -> str:
    """`precision` of params.yaml as Lightning calls it; auto is bf16 on a GPU that has it."""
    if name == "auto":
        on_gpu = env.on_gpu(torch.cuda.is_available())
        name = (
            "bf16" if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        )
    return {"bf16": "bf16-mixed", "fp32": "32-true"}[name]


def fit(module: Fit, state: Part, label: str, precision: str = "fp32") -> History:
    """Train `module` for its number of steps, from the checkpoint of `state` if there is one.

    Devices, nodes and launcher are the environment's (SEPP_*, torchrun, Slurm). Returns the
    history, a row per epoch.
    """
    warnings.filterwarnings("ignore", module="lightning.*")
    for package in ("pytorch", "fabric"):  # "GPU available: False", tips, and the like
        logging.getLogger(f"lightning.{package}.utilities.rank_zero").setLevel(logging.WARNING)
    trainer = _trainer(module, state, label, precision)
    resume = state.checkpoint if is_whole(state.checkpoint) else None
    try:
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    except SIGTERMException:  # a SystemExit of code 0: the scheduler would take it for success
        raise SeppError(f"{label}: stopped by SIGTERM; `dvc repro` resumes it") from None
    except SystemExit:  # Lightning's own for Ctrl-C, without a word
        raise SeppError(f"{label}: stopped by Ctrl-C; `dvc repro` resumes it") from None
    if trainer.global_step != module.steps:
        raise SeppError(f"{label}: interrupted at step {trainer.global_step} of {module.steps}")
    return module.history


# What a damaged file makes zipfile raise. An OSError is not among it: a disk that does not answer
# for a moment is no reason to begin anew.
DAMAGE = (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, struct.error)


def is_whole(checkpoint: Path) -> bool:
    """Whether there is a checkpoint, all of which reads: a power cut may have cut it short. One
    that does not is put aside."""
    if not checkpoint.exists():
        return False
    try:
        with zipfile.ZipFile(checkpoint) as file:
            if file.testzip() is None:
                return True
    except DAMAGE:
        pass
    aside = checkpoint.with_suffix(".damaged")
    log.warning("%s: is damaged, so this training starts afresh; it is now %s", checkpoint, aside)
    if env.is_first():
        checkpoint.replace(aside)
    return False


def _trainer(module: Fit, state: Part, label: str, precision: str) -> lightning.Trainer:
    """Raises SeppError if there are no such devices as the environment asks for."""
    several = env.nodes() > 1 or env.devices() != 1
    on_gpu = env.on_gpu(torch.cuda.is_available())
    # Atomic sums, and kernels chosen by timing, would give other bits after each resume.
    torch.use_deterministic_algorithms(on_gpu and module.deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # which nothing here reads
    # Lightning's own requeueing would leave checkpoints where other trainings find them.
    slurm = [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
    try:
        return lightning.Trainer(
            accelerator=env.accelerator(),
            devices=env.devices(),
            num_nodes=env.nodes(),
            # Every rank makes the same buffers (queue, EMA), so there is nothing to broadcast.
            strategy=DDPStrategy(broadcast_buffers=False) if several else "auto",
            precision=lightning_precision(precision),
            max_epochs=math.ceil(module.steps / len(module.batches)),
            use_distributed_sampler=False,
            callbacks=[ShowProgress(label), SaveState(state)]
            if env.is_first()
            else [SaveState(state)],
            plugins=slurm,
            default_root_dir=state.folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            benchmark=on_gpu and not module.deterministic,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SeppError(
            f"environment: SEPP_ACCELERATOR={env.accelerator()}, SEPP_DEVICES={env.devices()}: "
            f"{reason}"
        ) from None
