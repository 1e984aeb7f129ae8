"""ImageNet-1K, read by torchvision: its three archives, or the train/ and val/ they unpack to."""

from __future__ import annotations

from pathlib import Path

from stages.common.errors import DataError
from stages.datasets import Dataset
from stages.datasets._folders import check_classes, split_of


def read(root: Path) -> Dataset:
    """1,281,167 images to train on, the 50,000 validation images to test.

    torchvision unpacks the archives into `root` at the first time.

    Raises:
        DataError: archives and folders are missing, or train/ and val/ differ in their classes.
    """
    # Imported here: torchvision loads torch.
    from torchvision.datasets import ImageNet

    try:
        parts = {name: ImageNet(str(root), split=theirs) for name, theirs in SPLITS.items()}
    except (RuntimeError, FileNotFoundError, ModuleNotFoundError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"{root}: {reason}; put ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar and "
            "ILSVRC2012_img_val.tar there. For train/ and val/ without the devkit: "
            "data.name: imagefolder"
        ) from None
    # An unpacking that was cut short leaves some classes out.
    remedy = "remove the one that is not whole, so that it is unpacked anew"
    check_classes(parts["train"].wnids, parts["test"].wnids, root / "val", remedy)
    splits = [
        split_of(name, _below(root, part.samples), root, f"{part.split}/")
        for name, part in parts.items()
    ]
    return Dataset(splits, [names[0] for names in parts["train"].classes])


def _below(root: Path, samples: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """torchvision's samples by their path below `root`, without hidden files, such as the ._x.JPEG
    of macOS: source does not list them either."""
    below = ((path.removeprefix(f"{root}/"), label) for path, label in samples)
    return [(path, label) for path, label in below if "/." not in path]


SPLITS = {"train": "train", "test": "val"}  # ours, torchvision's
