"""When no pair is found: what similarities there are, and which threshold would give some."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from stages.mining import MEMORY, pair_blocks
from stages.mining.estimate import expected_pairs
from stages.mining.pairs import Pairs

MANY = 10**6  # pairs, which are no longer counted
SAMPLE = 2_048  # rows that tell where to look
EDGE = 1e-6  # a float32 may be on the wrong side of the decimal that it stands for
Search = Callable[[float, float], Iterator[Pairs]]  # all pairs in an interval


def advise(
    x: np.ndarray,
    lo: float,
    hi: float,
    engine: str = "auto",
    memory: int = MEMORY,
    scratch: Path | None = None,
) -> str:
    """One line on why no two of the unit rows x (N, D) have a similarity in [lo, hi].

    It gives the highest similarity over all pairs, and the nearest round `sepp.min`, or `sepp.max`
    for pairs that lie above it, with the number of pairs that it really gives. The rest is as for
    `find_pairs`.
    """
    if len(x) < 2:
        return f"{len(x)} embedded image{'s' * (len(x) != 1)}, and a pair needs two: raise embed.k"
    search = partial(pair_blocks, x, engine=engine, memory=memory, scratch=scratch)
    highest, below, above = _around(x, lo, hi, search)
    options = []
    if above <= 1.1:  # else there is none
        options.append(_first(x, "max", math.ceil((above - EDGE) * 1000), lo, hi, search))
    if below >= -1.1:
        options.append(_first(x, "min", math.floor((below + EDGE) * 100), lo, hi, search))
    text = ", ".join(option for option in options if option)
    return (
        f"no pair of {len(x):,} images has a similarity in [{lo}, {hi}]; "
        f"the highest is {highest:.4f}: {text}"
    )


def _first(x: np.ndarray, key: str, step: int, lo: float, hi: float, search: Search) -> str:
    """The first bound from `step` outwards that gives pairs; a float32 estimate may be one off."""
    steps = range(min(step, 1000), 1001) if key == "max" else range(max(step, -100), -101, -1)
    for tried in steps:
        low, high = (lo, tried / 1000) if key == "max" else (tried / 100, hi)
        if low > high:
            continue
        about = expected_pairs(x, low, high, seed=0)
        if about > MANY:
            return f"sepp.{key}={high if key == 'max' else low} would give about {about:,.0f} pairs"
        count = sum(len(pairs.anchor) for pairs in search(low, high))
        if count:
            value = high if key == "max" else low
            return f"sepp.{key}={value} would give {count:,} pair{'s' * (count > 1)}"
    return ""


def _around(x: np.ndarray, lo: float, hi: float, search: Search) -> tuple[float, float, float]:
    """Over all pairs: the highest similarity, the highest below `lo`, and the lowest above `hi`.

    The last two are -inf and inf if there is none. Where a great many are above `hi`, which need
    no search, the first is of a sample, and the last is `hi`.
    """
    rng = np.random.default_rng(0)
    sample = x[np.sort(rng.choice(len(x), min(len(x), SAMPLE), replace=False))]
    values = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    highest, below, above = float(values.max()), -math.inf, hi
    if expected_pairs(x, hi, 1.0, seed=0) <= MANY:
        found = [pairs.similarity for pairs in search(hi, 1.0)]
        above = min((float(values.min()) for values in found), default=math.inf)
        highest = max((float(values.max()) for values in found), default=-math.inf)
    # The best pair of the sample, or a better one: few are as near as it is.
    near = float(values.max(where=values < lo, initial=-np.inf))
    if near > -math.inf:
        found = [pairs.similarity for pairs in search(max(-1.0, near - 1e-5), lo)]
        below = max((float(values.max()) for values in found), default=-math.inf)
    return min(max(highest, below), 1.0), below, above
