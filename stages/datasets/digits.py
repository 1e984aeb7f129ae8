"""scikit-learn's bundled digits: 1,797 grey images of 8x8 pixels, ten classes. No download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.datasets import Dataset, Split


def read(root: Path) -> Dataset:
    """A fixed stratified split: 1,437 images to train on and 360 to test."""
    # Imported here: scikit-learn takes a second to load, and only this data set needs it.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    values, labels = load_digits(return_X_y=True)  # (1797, 64) of 0…16
    gray = np.rint(values.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    images = np.repeat(gray, 3, axis=3)
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=0.2, stratify=labels, random_state=0)
    splits = [
        Split(name, labels[chosen], pixels=images[chosen])
        for name, chosen in (("train", np.sort(train)), ("test", np.sort(test)))
    ]
    return Dataset(splits, [str(digit) for digit in range(10)])
