"""Random samples of the mined pairs, of which none needs to fit in memory: they are counted, places
among them are drawn, and those are fetched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.common.pairs import Pairs, join
from stages.reporting.blocks import Blocks

EDGE_OF_BIN = 1e-4  # of a hundredth: a float32 is a little below the decimal that it stands for
Stratum = Callable[[Pairs], np.ndarray]  # (M,) int64, which stratum each pair is in, from 0


def sample(blocks: Blocks, count: int, rng: np.random.Generator) -> Pairs:
    """Up to `count` pairs, by falling similarity: of each 0.01 of similarity as large a share as it
    has of all pairs, at random, so that nothing looks more frequent than it is."""
    sizes = _count(blocks, _hundredth)
    quota = min(count, sizes.sum()) * sizes / max(1, sizes.sum())
    taken = np.floor(quota).astype(np.int64)
    # The places left over go to bins at random, each with the chance of its remainder.
    left = min(count, int(sizes.sum())) - int(taken.sum())
    if left:
        rest = quota - taken
        taken[rng.choice(len(sizes), left, replace=False, p=rest / rest.sum())] += 1
    ranks = {
        bin_: rng.choice(sizes[bin_], taken[bin_], replace=False) for bin_ in np.flatnonzero(taken)
    }
    found = join(_fetch(blocks, _hundredth, ranks).values())
    return found.take(np.lexsort((found.positive, found.anchor, -found.similarity)))


def more_of(
    blocks: Blocks, kind: Stratum, number: int, known: Pairs, count: int, rng: np.random.Generator
) -> Pairs:
    """Pairs of the stratum `number`, at random and none of `known`, so that with those of `known`
    there are up to `count`, in their order."""
    wanted = count - int((kind(known) == number).sum())
    sizes = _count(blocks, kind)
    size = int(sizes[number]) if number < len(sizes) else 0
    # So many more than wanted that enough are left when the known ones among them are dropped.
    drawn = rng.choice(size, min(size, count), replace=False)
    found = _fetch(blocks, kind, {number: drawn})[number]
    names = set(zip(known.anchor.tolist(), known.positive.tolist(), strict=True))
    ends = zip(found.anchor.tolist(), found.positive.tolist(), strict=True)
    others = found.take(np.array([pair not in names for pair in ends], bool)).take(slice(wanted))
    return others.take(np.lexsort((others.positive, others.anchor)))


def _hundredth(pairs: Pairs) -> np.ndarray:
    return np.floor(100 * pairs.similarity.astype(np.float64) + EDGE_OF_BIN).astype(np.int64) + 101


def _count(blocks: Blocks, stratum: Stratum) -> np.ndarray:
    """(S,) int64 pairs of each stratum."""
    counts = np.zeros(1, np.int64)
    for block in blocks():
        here = np.bincount(stratum(block))
        longer = max(len(here), len(counts))
        counts = sum(np.pad(part, (0, longer - len(part))) for part in (counts, here))
    return counts


def _fetch(blocks: Blocks, stratum: Stratum, ranks: dict[int, np.ndarray]) -> dict[int, Pairs]:
    """The pairs at `ranks` among those of each stratum, in the order of the ranks."""
    found: dict[int, list[Pairs]] = {number: [] for number in ranks}
    places: dict[int, list[np.ndarray]] = {number: [] for number in ranks}
    before = dict.fromkeys(ranks, 0)
    for block in blocks():
        of = stratum(block)
        for number, wanted in ranks.items():
            own = np.flatnonzero(of == number)
            here = np.flatnonzero((wanted >= before[number]) & (wanted < before[number] + len(own)))
            found[number].append(block.take(own[wanted[here] - before[number]]))
            places[number].append(here)
            before[number] += len(own)
    return {
        number: join(parts).take(np.argsort(np.concatenate([*places[number], []]), kind="stable"))
        for number, parts in found.items()
    }
