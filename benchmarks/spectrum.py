"""Made rows whose pairs are as hard to find as an encoder's."""

from __future__ import annotations

import numpy as np


def spectrum(rows: int, dim: int) -> np.ndarray:
    """Unit rows whose k-th principal variance falls as 1 / k, with one near copy of every tenth."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, dim), np.float32) / np.sqrt(np.arange(1, dim + 1, dtype="f4"))
    copied = np.arange(0, rows - 1, 10)
    noise = 0.2 * np.linalg.norm(x[copied], axis=1, keepdims=True) / np.sqrt(dim)
    x[copied + 1] = x[copied] + noise * rng.standard_normal((len(copied), dim), np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)
