"""What a training gives: its encoder, those that it leaves on its way, and its curve."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from torch.optim import Optimizer

from stages.common import artifacts, env
from stages.common.rounds import left_after
from stages.common.sections import Training, Views
from stages.common.state import TrainingState
from stages.ssl.course import Course, handover
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.methods import Method
from stages.ssl.trainer import History


@dataclass(frozen=True)
class Exporter:
    """Makes encoders of what is being trained."""

    method: Method
    training: Training
    views: Views
    course: Course
    rows: int  # that are trained on
    seed: int
    folder: Path  # of the training's state, where encoders are left on the way
    weights: dict[str, object] | None = None  # from which it started, where it did: name, digest

    def encoder(self, done: int, optimizer: Optimizer) -> Encoder:
        """The backbone and projection that the method keeps after `done` steps of the whole, as
        plain modules on the CPU; with all that is needed to go on, where the whole is not over."""
        config = EncoderConfig(
            backbone=self.training.backbone,
            stem=self.training.stem,
            image_size=self.views.image_size,
            mean=self.views.mean,
            std=self.views.std,
            projection=self.method.projection_spec(),
            training=self._facts(done),
        )
        encoder = Encoder(config)
        backbone, projection = self.method.kept()
        encoder.backbone.load_state_dict(backbone.state_dict())
        encoder.projection.load_state_dict(projection.state_dict())
        if done < self.course.whole:  # somebody is to continue it
            encoder.handover = handover(self.method, optimizer, self.course, done)
        return encoder.eval()

    def _facts(self, done: int) -> dict[str, object]:
        """How it was trained, for the reader."""
        return {
            "method": self.training.method,
            **self.method.params.model_dump(),
            "epochs": self.course.epoch_of(done),
            "batch_size": self.training.batch_size,
            "rows": self.rows,
            "steps": done - self.course.done,
            "steps_before": self.course.done,  # of the sampler or arm that is continued
            "seed": self.seed,
            **({"weights": self.weights} if self.weights else {}),
        }

    def leave(self, done: int, optimizer: Optimizer) -> None:
        """Keep what the encoder is after `done` steps, until `record` puts it beside the last."""
        if env.is_first():
            self.encoder(done, optimizer).save(self.folder / left_after(self.course.epoch_of(done)))


def record(
    encoder: Encoder, history: History, folder: Path, curve: Path, state: TrainingState
) -> None:
    """Write a finished training's encoder, with those that it left on its way, and its curve, and
    forget its state.

    Raises:
        StaleRunError: what it was made from has been edited since.
    """
    state.check()
    if env.is_first():
        encoder.save(folder)
        for left in sorted(state.folder.glob(left_after("*"))):
            with artifacts.atomic(folder / left.name) as partial:
                partial.mkdir()
                for file in sorted(left.iterdir()):  # not copytree, whose errors have no number
                    shutil.copyfile(file, partial / file.name)
        artifacts.write_history(curve, history)
    state.clear()
