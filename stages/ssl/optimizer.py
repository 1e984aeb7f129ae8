"""The optimiser and its learning rate: scaled with the batch, warm-up, half a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable

from lightly.utils.lars import LARS
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from stages.ssl.methods import Method


def build_optimizer(
    method: Method, batch_size: int, steps: int, epochs: int, done: int = 0
) -> tuple[Optimizer, LambdaLR]:
    """What steps `method.groups()`, and the schedule that is to be stepped with it.

    Args:
        batch_size: rows per step over all devices.
        steps, epochs: of the whole training.
        done: steps of it that another run has taken.
    """
    p = method.params
    groups = [group for group in method.groups() if group.parameters]
    options = [
        {
            "params": group.parameters,
            "lr": p.peak_rate(batch_size) * group.rate,
            "weight_decay": p.weight_decay if group.decay else 0.0,
        }
        for group in groups
    ]
    if p.optimizer == "adamw":  # with torch's betas, which MoCo-v3 and DINO train ViTs with
        optimizer: Optimizer = AdamW(options, lr=p.base_lr)
    else:
        kind = {"sgd": SGD, "lars": LARS}[p.optimizer]
        optimizer = kind(options, lr=p.base_lr, momentum=p.sgd_momentum)
    whole = warmup_cosine(p.warmup_epochs * steps // epochs, steps)

    def share(step: int) -> float:
        return whole(done + step)

    return optimizer, LambdaLR(optimizer, [_constant if g.constant else share for g in groups])


def warmup_cosine(warmup: int, steps: int) -> Callable[[int], float]:
    """Share of the peak learning rate at a step: rises to 1 over `warmup` steps, falls to 0."""

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2

    return share


def _constant(step: int) -> float:
    return 1.0
