from collections.abc import Callable

import numpy as np
import pytest


def _at_cosines(*cosines: float) -> np.ndarray:
    """(1 + M, 2) float32: row 0, and rows whose cosine with it is exactly float32(cosine)."""
    c = np.array([1.0, *cosines], np.float32)
    return np.stack([c, np.sqrt(np.maximum(0, 1 - c.astype(np.float64) ** 2))], 1).astype("f4")


@pytest.fixture
def at_cosines() -> Callable[..., np.ndarray]:
    """A function of cosines, which makes rows that have exactly these with the first row."""
    return _at_cosines
