"""When no pair is found: what similarities there are, and which threshold would give some."""

from __future__ import annotations

import math

import numpy as np

from stages.common.progress import Progress
from stages.mining import pair_blocks
from stages.mining.estimate import expected_pairs

MANY = 10**6  # pairs, which are no longer counted
BLOCK = 2**22  # similarities in work at a time, 16 MiB
EDGE = 1e-6  # a float32 may be on the wrong side of the decimal that it stands for


def advise(x: np.ndarray, lo: float, hi: float) -> str:
    """One line on why no two of the unit rows x (N, D) have a similarity in [lo, hi].

    It gives the highest similarity over all pairs, and the nearest round `sepp.min`, or `sepp.max`
    for pairs that lie above it, with the number of pairs that it really gives.
    """
    if len(x) < 2:
        return f"{len(x)} embedded image{'s' * (len(x) != 1)}, and a pair needs two: raise embed.k"
    highest, below, above = _around(x, (lo + hi) / 2)
    options = []
    if above <= 1.1:  # else there is none
        options.append(_first(x, "max", math.ceil((above - EDGE) * 1000), lo, hi))
    if below >= -1.1:
        options.append(_first(x, "min", math.floor((below + EDGE) * 100), lo, hi))
    text = ", ".join(option for option in options if option)
    return (
        f"no pair of {len(x):,} images has a similarity in [{lo}, {hi}]; "
        f"the highest is {min(highest, 1.0):.4f}: {text}"
    )


def _first(x: np.ndarray, key: str, step: int, lo: float, hi: float) -> str:
    """The first bound from `step` outwards that gives pairs; a float32 estimate may be one off."""
    steps = range(min(step, 1000), 1001) if key == "max" else range(max(step, -100), -101, -1)
    for tried in steps:
        low, high = (lo, tried / 1000) if key == "max" else (tried / 100, hi)
        if low > high:
            continue
        about = expected_pairs(x, low, high, seed=0)
        if about > MANY:
            return f"sepp.{key}={high if key == 'max' else low} would give about {about:,.0f} pairs"
        count = sum(len(pairs.anchor) for pairs in pair_blocks(x, low, high))
        if count:
            value = high if key == "max" else low
            return f"sepp.{key}={value} would give {count:,} pair{'s' * (count > 1)}"
    return ""


def _around(x: np.ndarray, split: float) -> tuple[float, float, float]:
    """Over all pairs of rows: the highest similarity, the highest below `split`, the lowest above.

    The last two are -inf and inf if there is none.
    """
    highest, below, above = -math.inf, -math.inf, math.inf
    step = max(1, BLOCK // len(x))
    with Progress("nearest misses", len(x), "rows") as progress:
        for start in range(0, len(x), step):
            values = x[start : start + step] @ x[start:].T  # (B, N - start)
            progress.advance(len(values))
            values[np.tril_indices(len(values), 0, values.shape[1])] = -np.inf  # j <= i
            top = float(values.max())
            highest = max(highest, top)
            if top >= split:  # rare, and slower
                above = min(above, float(values.min(where=values >= split, initial=np.inf)))
                top = float(values.max(where=values < split, initial=-np.inf))
            below = max(below, top)
    return highest, below, above
