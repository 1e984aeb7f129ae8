"""STL-10's binary files, read by torchvision.

Pretraining uses the 100,000 unlabelled images, as in the paper; the linear classifier learns from
the 5,000 labelled ones and is tested on 8,000.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.common.errors import DataError
from stages.datasets import Dataset, Split

NAMES = {"train": "unlabeled", "labelled": "train", "test": "test"}  # ours, torchvision's


def read(root: Path) -> Dataset:
    # Imported here: torchvision loads torch.
    from torchvision.datasets import STL10

    try:
        parts = {name: STL10(str(root), split=theirs) for name, theirs in NAMES.items()}
    except (RuntimeError, FileNotFoundError):
        raise DataError(
            f"{root}: holds no intact stl10_binary; unpack stl10_binary.tar.gz there, "
            "or set SEPP_DATA_ROOT to the folder that holds it"
        ) from None
    splits = [
        Split(name, np.asarray(part.labels), pixels=part.data.transpose(0, 2, 3, 1))
        for name, part in parts.items()
    ]
    return Dataset(splits, list(parts["train"].classes))
