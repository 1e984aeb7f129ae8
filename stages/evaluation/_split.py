"""Which images a classifier is trained and tested on. Never imports torch."""

from __future__ import annotations

import numpy as np

from stages.common.images import ImageStore


def labelled(store: ImageStore) -> np.ndarray:
    """Ids (N,) on which a classifier is trained: those with a label, of the labelled split where
    there is one, else of train."""
    ids = store.select("labelled")
    return _known(store, ids if len(ids) else store.select("train"))


def tested(store: ImageStore) -> np.ndarray:
    """Ids (N,) of the test images that have a label."""
    return _known(store, store.select("test"))


def _known(store: ImageStore, ids: np.ndarray) -> np.ndarray:
    return ids[store.labels[ids] >= 0]


SPLIT = "; data.split: 0.1 makes one of the images that have a label"


def why_not(store: ImageStore, remedy: str = SPLIT) -> str | None:
    """Why an encoder cannot be evaluated on these images, or None if it can; `remedy` is what is
    said where labels are there and a test split is not."""
    train = labelled(store)
    if not len(store.select("test")):
        return "the data set has no test split" + remedy * bool(len(train))
    for name, ids in (("training", train), ("test", tested(store))):
        if not len(ids):
            return f"no {name} image has a label"
    if len(np.unique(store.labels[train])) == 1:
        return f"the labels of the training images ({len(train):,}) are all of one class"
    return None


def stratified(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows (M,) of `labels` (N,), ascending: of each class this share at random, but at least
    one.

    Rows of a smaller share are among those of a larger one with the same seed.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = max(1, int(share * len(rows) + 0.5))
        chosen.append(rng.permutation(rows)[:count])
    return np.sort(np.concatenate(chosen))
