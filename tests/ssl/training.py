"""Short trainings of any method on tiny data, in this process or, run as a module, in several."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stages.common.images import ImageStore
from stages.common.params import load_all
from stages.common.state import TrainingState
from stages.ssl import distributed, encoder, export, pretraining
from stages.ssl.batches import Rows
from stages.ssl.methods import find_method
from stages.ssl.trainer import History
from tests.conftest import write_data, write_params
from tests.ssl.tiny import METHODS, values

AS_IT_IS = {  # views without any randomness: each process draws its own
    "views.crop_area": [1.0, 1.0],
    "views.crop_ratio": [1.0, 1.0],
    "views.jitter": 0.0,
}


def write_project(folder: Path, **changes: Any) -> None:
    """The manifest, the images and params.yaml that `train_tiny` reads."""
    write_data(folder)
    write_params(
        folder / "params.yaml",
        {"pretrain.batch_size": 16, "pretrain.match_steps": False, **changes},
    )


def tiny_backbone(*_: object) -> tuple[nn.Module, int]:
    """In place of `build_backbone`: one convolution with batch norm."""
    pooled = [nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), *pooled), 16


def use_tiny_backbone(set_attribute: Callable[[object, str, object], None]) -> None:
    for module in (encoder, pretraining):
        set_attribute(module, "build_backbone", tiny_backbone)


def rows_of(store: ImageStore, name: str) -> Rows:
    """All images, and sixteen pairs of weight 0.5, masked where the method can."""
    ids = store.select("train")
    anchor = np.concatenate([ids, np.arange(16)])
    positive = np.concatenate([ids, np.arange(16) + 16])
    weight = np.repeat(np.array([1, 0.5], np.float32), [len(ids), 16])
    return Rows(anchor, positive, weight, len(ids), find_method(name).has_negatives)


def train_tiny(
    name: str,
    epochs: int,
    folder: Path = Path(),
    rows: Rows | None = None,
    precision: str = "fp32",
    of_epochs: int | None = None,
    continues: Path | None = None,
    leave_at: Sequence[int] = (),
    to: Path | None = None,
    **changes: Any,
) -> tuple[encoder.Encoder, History]:
    """Train the method `name` on `rows`, or those above; its state is kept until it has ended. With
    `to`, the encoder is recorded in that folder, as the stages do."""
    settings = load_all(folder / "params.yaml")
    store = ImageStore(folder / "data/manifest.parquet", folder / "data/images.npy")
    training = settings.pretrain.model_copy(
        update={"method": name, "epochs": epochs, "precision": precision, "of_epochs": of_epochs}
    )
    rows = rows or rows_of(store, name)
    with TrainingState(name, lambda: name) as state:
        block = values(name, **changes)
        done = pretraining.train(
            *("pretrain", training, block, settings.views, rows, store, 0, state, name),
            *(continues, leave_at),
        )
        if to:
            export.record(*done, to, to.with_suffix(".csv"), state)
        state.clear()
    return done


def broken_and_resumed(
    name: str, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> list[tuple[encoder.Encoder, History]]:
    """Four epochs of the method `name` in one go, and the same broken off in the third and resumed.

    The working directory is what `write_project` wrote; a state is saved at every epoch's end.
    """
    whole = train_tiny(name, 4, **options)
    step = pretraining.Pretraining.training_step

    def breaks(self, batch, index):
        if (self.current_epoch, index) == (2, 1):
            raise RuntimeError("broken here")
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(pretraining.Pretraining, "training_step", breaks)
        with pytest.raises(RuntimeError, match="broken here"):
            train_tiny(name, 4, **options)
    assert list(Path(os.environ["SEPP_STATE_DIR"]).glob("*/*/last.ckpt"))
    return [whole, train_tiny(name, 4, **options)]


def as_on_one_process(name: str, folder: Path) -> tuple[torch.Tensor, History]:
    """A training that should not depend on the number of processes: all weights, the history."""
    whole = {"bn_splits": 2, "local_area_min": 1.0, "local_area_max": 1.0, "base_lr": 0.01}
    whole |= {"momentum": 0.5}  # so that a teacher moves by more than what rounding does
    known = {k: v for k, v in whole.items() if k in find_method(name).Params.model_fields}
    trained, history = train_tiny(name, 2, folder, **known)
    return torch.cat([p.flatten() for p in trained.parameters()]).detach(), history


def first_weights(name: str) -> torch.Tensor:
    """Those that `as_on_one_process` starts from."""
    kind = find_method(name)
    torch.manual_seed(0)
    method = kind(kind.Params(**values(name)), tiny_backbone)
    modules = (method.backbone, method.projection)
    return torch.cat([p.flatten() for m in modules for p in m.parameters()]).detach()


if __name__ == "__main__":
    torch.set_num_threads(1)
    use_tiny_backbone(setattr)
    trained = {name: as_on_one_process(name, Path(sys.argv[1])) for name in METHODS}
    if distributed.rank() == 0:
        torch.save(trained, sys.argv[2])
    assert distributed.world_size() == int(os.environ["SEPP_DEVICES"])
