"""CIFAR-10 in its original Python archive or folder, read by torchvision (which checks its MD5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.common.errors import DataError
from stages.datasets import Dataset, Split


def read(root: Path) -> Dataset:
    """50,000 images to train on, 10,000 to test; `root` holds cifar-10-batches-py."""
    # Imported here: torchvision loads torch.
    from torchvision.datasets import CIFAR10

    try:
        parts = {name: CIFAR10(str(root), train=name == "train") for name in ("train", "test")}
    except RuntimeError:
        raise DataError(
            f"{root}: holds no intact cifar-10-batches-py; unpack cifar-10-python.tar.gz there, "
            "or set SEPP_DATA_ROOT to the folder that holds it"
        ) from None
    splits = [Split(n, np.asarray(part.targets), pixels=part.data) for n, part in parts.items()]
    return Dataset(splits, parts["train"].classes)
