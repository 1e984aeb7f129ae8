"""Similarities in bins, as thresholds take them."""

from __future__ import annotations

import numpy as np


def bins_of(similarity: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(M,) the bin of each float32, as a threshold takes it: an edge belongs to the bin that starts
    there; -1 below the first. 1 is in the last."""
    limits = edges.astype(np.float32)  # as thresholds are compared
    bins = np.searchsorted(limits, similarity, "right") - 1
    return np.minimum(bins, len(edges) - 2)
