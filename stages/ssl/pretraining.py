"""Training of an encoder by an instance-discrimination method, the sampler's and the arms'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.common.errors import ParamError, SeppError
from stages.common.images import ImageStore
from stages.common.params import AllParams, Training, Views, check, load_all
from stages.common.state import TrainingState, run_fingerprint
from stages.ssl.backbones import build_backbone
from stages.ssl.batches import PairBatches, Rows
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.methods import Batch, Method, find_method
from stages.ssl.trainer import Fit, History, fit, lightning_precision
from stages.ssl.views import RandomViews

VIEWS, METHOD = 0, 1  # the parts of a step that draw random numbers


class Pretraining(Fit):
    """Two views of every row, the method's loss, SGD under a cosine schedule."""

    def __init__(self, method: Method, views: Views, batches: PairBatches, steps: int) -> None:
        super().__init__(batches, steps)
        self.method = method.to(memory_format=torch.channels_last)
        self.views = RandomViews(views, cropped=batches.streamed)
        block = type(method).__module__.rpartition(".")[2]
        self.remedy = f"lower methods.{block}.base_lr in params.yaml, or set precision: fp32 there"
        self.images: Tensor | None = None  # (N, 3, H, W) uint8 on the device, unless streamed

    def on_fit_start(self) -> None:
        self.images = self.batches.images_on(self.device)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        # Each process draws its own views, but all draw alike inside the method (key shuffling).
        self.reseed(index, VIEWS + 2 * self.global_rank)
        ids = torch.cat([batch["anchor"], batch["positive"]])
        images = batch["images"] if self.images is None else self.images[ids]
        views = self.views(images).contiguous(memory_format=torch.channels_last)
        self.reseed(index, METHOD)
        rows = Batch(batch["anchor"], batch["positive"], batch["weight"])
        loss, embedding = self.method.step(*views.chunk(2), rows)
        spread = torch.nn.functional.normalize(embedding.detach().float()).std(0).mean()
        # 1 when directions are spread evenly over the sphere, 0 when all have collapsed onto one.
        self.record(loss=loss, embedding_std=spread * embedding.shape[1] ** 0.5)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        p = self.method.params
        trained = [w for w in self.method.parameters() if w.requires_grad]
        rate = p.base_lr * self.batches.batch_size / 256
        sgd = torch.optim.SGD(trained, rate, p.sgd_momentum, weight_decay=p.weight_decay)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, self.steps)
        return {"optimizer": sgd, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}


def train(
    section: str,
    training: Training,
    method_values: Mapping[str, Any],
    views: Views,
    rows: Rows,
    store: ImageStore,
    seed: int,
    state: TrainingState,
    label: str,
) -> tuple[Encoder, History]:
    """Train one encoder on `rows`.

    Args:
        section: of params.yaml that `training` comes from, for messages.
        method_values: the block ``methods.<training.method>``.
        seed: of the initial weights, the order and the views; arms share it, so that they start
            from the same weights.
        state: where an unfinished training is kept.

    Returns:
        The encoder as it is after the last step, and the history: a row per epoch.
    """
    kind = find_method(training.method)
    params = check(Path("params.yaml"), f"methods.{training.method}", kind.Params, method_values)
    batches = PairBatches(rows, store, views, training.batch_size, seed, section)
    steps = total_steps(training, rows)
    torch.manual_seed(seed)
    method = kind(params, lambda: build_backbone(training.backbone, training.stem))
    history = fit(Pretraining(method, views, batches, steps), state, label, training.precision)
    config = EncoderConfig(
        backbone=training.backbone,
        stem=training.stem,
        image_size=views.image_size,
        mean=views.mean,
        std=views.std,
        projection=method.projection_spec(),
        training={
            "method": training.method,
            **params.model_dump(),
            "epochs": training.epochs,
            "batch_size": training.batch_size,
            "rows": len(rows.anchor),
            "steps": steps,
            "seed": seed,
        },
    )
    return export(method, config), history


def training_fingerprint(
    module: str, settings: Any, section: str, inputs: Iterable[Path], **more: object
) -> str:
    """Digest of all that decides the result of the training of stage `module`, read from disk.

    Args:
        module: of the stage; its code and the method's, imports included, count.
        settings: the stage's params; of `methods` only the method in use counts.
        section: of the params that names the method.
        inputs: files and folders that the stage reads.
        more: what else distinguishes the training, e.g. its seed.
    """
    training = getattr(settings, section)
    own = {
        **settings.model_dump(),
        "methods": settings.methods[training.method],
        "precision": lightning_precision(training.precision),  # what auto is on this machine
        **more,
    }
    return run_fingerprint([module, f"stages.ssl.methods.{training.method}"], own, inputs)


def total_steps(training: Training, rows: Rows) -> int:
    """Optimiser steps: epochs over all rows, or over the instance rows alone for match_steps."""
    counted = rows.instances if getattr(training, "match_steps", False) else len(rows.anchor)
    return training.epochs * (counted // training.batch_size)


def export(method: Method, config: EncoderConfig) -> Encoder:
    """The online backbone and projection, as plain modules on the CPU."""
    encoder = Encoder(config)
    encoder.backbone.load_state_dict(method.backbone.state_dict())
    encoder.projection.load_state_dict(method.projection.state_dict())
    return encoder.eval()


def check_trainings(file: Path) -> None:
    """Check, before anything long starts, what of both trainings only torch can check.

    Raises:
        ParamError: a method's block, a backbone or its stem.
    """
    everything: AllParams = load_all(file)
    for name, values in everything.methods.items():
        check(file, f"methods.{name}", find_method(name).Params, values)
    for section in ("sampler", "pretrain"):
        training: Training = getattr(everything, section)
        try:
            build_backbone(training.backbone, training.stem)
        except SeppError as error:
            raise ParamError(file, section, str(error)) from None
