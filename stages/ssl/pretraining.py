"""Training of an encoder by an instance-discrimination method, the sampler's and the arms'."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stages.common import weights
from stages.common.images import ImageStore
from stages.common.param_file import METHODS, validate
from stages.common.sections import Training, Views
from stages.common.state import TrainingState, run_fingerprint
from stages.ssl.backbones import build_backbone, zero_last_norms
from stages.ssl.batch_norm import sync_batch_norms
from stages.ssl.batches import METHOD, VIEWS, PairBatches, Rows
from stages.ssl.checkpoints import backbone_weights
from stages.ssl.course import Course, Start, course_of
from stages.ssl.distributed import world_size
from stages.ssl.encoder import Encoder, EncoderConfig, load_strictly
from stages.ssl.export import Exporter
from stages.ssl.methods import Batch, Method, find_method
from stages.ssl.optimizer import build_optimizer
from stages.ssl.partners import Partners
from stages.ssl.trainer import Fit, History, fit, lightning_precision
from stages.ssl.views import RandomViews

log = logging.getLogger(__name__)


class Pretraining(Fit):
    """Two views of every row, the method's loss, and its optimiser."""

    def __init__(
        self,
        method: Method,
        batches: PairBatches,
        course: Course,
        start: Start | None = None,
        pause: Callable[[int, Optimizer], None] | None = None,
        pauses: set[int] = frozenset(),
    ) -> None:
        super().__init__(batches, course.steps)
        self.course, self.start = course, start
        self.pause, self.pauses = pause, pauses  # what is done after which steps of the whole
        batches.first_epoch = course.first_epoch
        self.method = method.to(memory_format=torch.channels_last)
        self.views = nn.ModuleList(RandomViews(made, batches.streamed) for made, _ in batches.runs)
        rows = batches.pairs
        self.partners = Partners(rows.anchor, rows.positive) if rows.mask_partners else None
        self.labels: Tensor  # (N,) of all images, -1 = none; for the shares that are logged alone
        labels = torch.tensor(batches.store.labels)
        self.register_buffer("labels", labels, persistent=False)
        self.images: Tensor | None = None  # (N, 3, H, W) uint8 on the device, unless streamed
        block = type(method).__module__.rpartition(".")[2]
        self.remedy = (
            f"lower {block}.base_lr in methods.yaml, or set precision: fp32 in params.yaml"
        )

    def configure_model(self) -> None:
        """Once it is known how many processes there are."""
        if self.method.synchronised and world_size() > 1:
            sync_batch_norms(self.method, self.trainer.strategy.root_device)

    def on_fit_start(self) -> None:
        self.images = self.batches.images_on(self.device)

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        self.reseed(index, VIEWS, self.global_rank)
        first, second, *extra = self._draw_views(batch)
        self.reseed(index, METHOD)  # alike on all processes (key shuffling)
        rows = Batch(
            batch["anchor"],
            batch["positive"],
            batch["weight"],
            extra,
            self._epoch,
            self.done / self.course.whole,
            self.partners,
        )
        loss, embedding, neighbours = self.method.step(first, second, rows)
        spread = torch.nn.functional.normalize(embedding.detach().float()).std(0).mean()
        # 1 when directions are spread evenly over the sphere, 0 when all have collapsed onto one.
        self.record(loss=loss, embedding_std=spread * embedding.shape[1] ** 0.5)
        self._record_labels("pair_accuracy", rows.anchor, rows.positive)
        if neighbours:
            self._record_labels("neighbour_accuracy", *neighbours)
        return loss

    def _draw_views(self, batch: dict[str, Any]) -> list[Tensor]:
        """The two views of each row, then the extra ones, each (B, 3, S, S)."""
        turns, views = cycle((batch["anchor"], batch["positive"])), []
        for run, (make, (_, count)) in enumerate(zip(self.views, self.batches.runs, strict=True)):
            ids = torch.cat(list(islice(turns, count)))
            # What loader workers cropped, or the images themselves, which are on the device.
            images = batch["crops"][run] if self.images is None else self.images[ids]
            views += _channels_last(make(images)).chunk(count)
        return views

    def _record_labels(self, name: str, ids: Tensor, others: Tensor) -> None:
        """How many of `others` (M,) have the label of `ids` (M,); -1, unlabelled images, and an
        image that is its own other count for nothing."""
        labels, found = self.labels[ids], self.labels[others]
        known = (others >= 0) & (ids != others) & (labels >= 0) & (found >= 0)
        self.record_share(name, labels == found, known)

    @property
    def _epoch(self) -> int:
        return self.course.epoch_of(self.done)

    @property
    def done(self) -> int:
        """Steps of the whole training that are over, those before a handover included."""
        return self.course.done + self.global_step

    def on_train_batch_end(self, *arguments: object) -> None:
        super().on_train_batch_end(*arguments)
        if self.done in self.pauses:
            self.pause(self.done, self.optimizers().optimizer)

    def on_after_backward(self) -> None:
        self.method.after_backward(self._epoch)

    def configure_optimizers(self) -> dict[str, Any]:
        size = self.batches.batch_size
        course = self.course
        optimizer, schedule = build_optimizer(
            self.method, size, course.whole, course.epochs, course.done
        )
        if self.start:
            self.start.resume(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


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
    continues: Path | None = None,
    leave_at: Sequence[int] = (),
) -> tuple[Encoder, History]:
    """Train one encoder on `rows`.

    Args:
        section: of params.yaml that `training` comes from, for messages.
        method_values: the block of ``training.method`` in methods.yaml.
        seed: of the initial weights, the order and the views; arms share it, so that they start
            from the same weights.
        state: where an unfinished training is kept.
        continues: the folder of an encoder whose training is to go on, as if it had never stopped:
            weights, moving averages, queues, the optimiser, and one schedule over the whole.
        leave_at: epochs of the whole after which the encoder, and what goes on from it needs, is
            left in the folder of `state`.

    Returns:
        The encoder as it is after the last step, and the history: a row per epoch.
    """
    method = new_method(training, method_values, views, seed)
    start = Start.load(continues, method) if continues else None
    size = training.batch_size
    batches = PairBatches(rows, store, method.row_views(views), size, seed, section)
    course = course_of(training, rows, start)
    _warn_of_warmup(training.method, method.params.warmup_epochs, section, course.epochs)
    _warn_of_queue(training.method, method, rows.instances)
    exporter = Exporter(
        *(method, training, views, course, len(rows.anchor), seed, state.folder),
        weights.identity(training.given),
    )
    pauses = course.steps_at(leave_at)
    module = Pretraining(method, batches, course, start, exporter.leave, pauses)
    history = fit(module, state, label, training.precision)
    return exporter.encoder(course.done + course.steps, module.optimizers().optimizer), history


def new_method(training: Training, values: Mapping[str, Any], views: Views, seed: int) -> Method:
    """As it starts: its backbone at random, or with the weights that are given.

    Raises ParamError for a value of its block that cannot be, CheckpointError for the weights.
    """
    kind = find_method(training.method)
    params = validate(Path(METHODS), kind.Params, values, training.method)
    config = EncoderConfig(
        training.backbone, training.stem, views.image_size, views.mean, views.std
    )
    given = backbone_weights(training.given, config) if training.given else None
    torch.manual_seed(seed)

    def new_backbone() -> tuple[nn.Module, int]:
        backbone, dim = build_backbone(training.backbone, training.stem, views.image_size)
        if given is not None:
            load_strictly(backbone, given, training.given.name)
        elif kind.zero_init_residual:
            zero_last_norms(backbone)
        return backbone, dim

    return kind(params, new_backbone)


def _warn_of_warmup(method: str, warmup: int, section: str, epochs: int) -> None:
    if warmup >= epochs:
        log.warning(
            "methods.yaml: %s.warmup_epochs %d is not below %s.epochs %d: "
            "the learning rate does not reach base_lr",
            *(method, warmup, section, epochs),
        )


def _warn_of_queue(name: str, method: Method, images: int) -> None:
    if method.repels_own and method.params.queue > images:
        log.warning(
            "methods.%s.queue %d is above the %d training images: older keys of an image are among "
            "its negatives; lower it",
            *(name, method.params.queue, images),
        )


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
