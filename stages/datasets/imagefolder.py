"""Your own images: train/ and, to evaluate, val/ or test/, each a folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.common.errors import DataError
from stages.datasets import Dataset, Split


def read(root: Path) -> Dataset:
    """Raises DataError for a missing train/, an empty class folder, or classes that differ."""
    # Imported here: torchvision loads torch.
    from torchvision.datasets import ImageFolder

    folders = {"train": root / "train"}
    tests = [root / name for name in ("val", "test") if (root / name).is_dir()]
    if tests:
        folders["test"] = tests[-1]
    splits, classes = [], None
    for name, folder in folders.items():
        try:
            part = ImageFolder(str(folder))
        except FileNotFoundError as error:
            reason = str(error).split(" Supported")[0].rstrip(".")
            raise DataError(
                f"{folder}: {reason}; every class is a folder of images below train/, and below "
                "val/ or test/ to evaluate"
            ) from None
        if classes is not None and part.classes != classes:
            odd = sorted(set(classes) ^ set(part.classes))
            raise DataError(f"{folder}: its classes differ from those of train/ ({', '.join(odd)})")
        classes = part.classes
        paths = [str(Path(path).relative_to(root)) for path, _ in part.samples]
        splits.append(Split(name, np.asarray(part.targets), paths=paths))
    return Dataset(splits, classes)
