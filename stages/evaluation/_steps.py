"""The steps of a classifier's training: of how many images, and at which learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR

from stages.common import env
from stages.common.errors import SeppError
from stages.ssl.inference import devices


def capped(batch_size: int, images: int) -> int:
    """`batch_size`, or of fewer images as many as the processes of a training share equally.

    Raises SeppError where there are fewer images than processes.
    """
    if batch_size <= images:
        return batch_size
    processes = len(devices()) * env.nodes()
    if images < processes:
        raise SeppError(
            f"environment: SEPP_DEVICES={env.devices()}, SEPP_NODES={env.nodes()}: {processes} "
            f"processes cannot share {images} training image{'s' * (images > 1)}: lower them"
        )
    return images - images % processes


def decayed(
    optimizer: Optimizer, milestones: Iterable[int], decay: float, steps: int
) -> dict[str, Any]:
    """`optimizer`, its learning rates times `decay` at the epochs `milestones`, of `steps` each."""
    # Counted in steps: Lightning saves a checkpoint before it steps a scheduler of epochs.
    rates = MultiStepLR(optimizer, [epoch * steps for epoch in milestones], gamma=decay)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}
