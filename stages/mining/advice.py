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
from stages.mining.rows import error_bound

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

    It gives the similarities nearest to the interval, over all pairs, and the nearest round
    `sepp.min`, or `sepp.max` for pairs that lie above it, with the number of pairs that it really
    gives (with `ivf`, of pairs that this finds). The rest is as for `find_pairs`.
    """
    if len(x) < 2:
        return f"{len(x)} embedded image{'s' * (len(x) != 1)}, and a pair needs two: raise embed.k"
    search = partial(pair_blocks, x, engine=engine, memory=memory, scratch=scratch)
    below, above = _around(x, lo, hi, search)
    options = []
    if above < math.inf:
        options.append(_first(x, "max", math.ceil((above - EDGE) * 1000), lo, hi, search))
    if below > -math.inf:
        options.append(_first(x, "min", math.floor((below + EDGE) * 100), lo, hi, search))
    text = ", ".join(option for option in options if option)
    nearest = " and ".join(f"{value:.4f}" for value in (below, above) if abs(value) < math.inf)
    return (
        f"no pair of {len(x):,} images has a similarity in [{lo}, {hi}]; "
        f"the nearest have {nearest}: {text}"
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


def _around(x: np.ndarray, lo: float, hi: float, search: Search) -> tuple[float, float]:
    """Over all pairs of rows: the highest similarity below `lo`, and the lowest above `hi`; -inf
    and inf where there is none. Where too many would have to be searched, those of a sample."""
    rng = np.random.default_rng(0)
    sample = x[np.sort(rng.choice(len(x), min(len(x), SAMPLE), replace=False))]
    values = np.clip(sample @ sample.T, -1, 1)[np.triu_indices(len(sample), 1)]
    slack, middle = error_bound(x.shape[1]), (lo + hi) / 2
    # The best pairs of the sample, or better ones: few are as near.
    near = float(values[values <= middle].max(initial=-np.inf))
    far = float(values[values >= middle].min(initial=np.inf))
    below, above = (max(-1.0, near - slack), lo), (hi, min(1.0, far + slack))
    if expected_pairs(x, *below, seed=0) <= MANY:
        near = max((float(p.similarity.max()) for p in search(*below)), default=-math.inf)
    if expected_pairs(x, *above, seed=0) <= MANY:
        far = min((float(p.similarity.min()) for p in search(*above)), default=math.inf)
    return near, far
