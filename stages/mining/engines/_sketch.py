"""Sketches of rows, short vectors whose dot product is at least that of the rows: see `pruned`."""

from __future__ import annotations

import logging
import time
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

log = logging.getLogger(__name__)
SAMPLE, PROBE = 16_384, 1_024  # rows that tell the directions; rows that tell how many are needed
SAMPLED, NUMBERS = 2**22, 2**21  # float64 of the sample, 32 MiB; of rows of which sketches are made
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # of a sketch
LANE = 64  # bounds of a tile of which only the highest is looked at, at first
MARGIN = 1e-4  # more than what norms above 1 add to a bound


class Tile(NamedTuple):
    """Rows by rows whose bounds are computed at once."""

    high: int
    wide: int  # divides high


class Directions(NamedTuple):
    """axes: (D, at most D) float64, orthonormal columns, the leading principal directions first.
    sample: (S, D) float64 of the rows. widest: that of the axes along which they differ most.
    """

    axes: np.ndarray
    sample: np.ndarray
    widest: np.ndarray


class Sketch(NamedTuple):
    """rows: (M, P + 1) tensor, bf16 or float32; those past N are zero, and M divides into tiles.
    threshold: what the bound of every pair with a similarity of at least `lo` reaches: of bf16, the
    integer that its bits look like.
    """

    rows: Any
    threshold: float


def make_sketch(
    torch: ModuleType,
    x: np.ndarray,
    rank: np.ndarray,
    directions: Directions,
    lo: float,
    tile: Tile,
    device: Any,
    memory: int,
) -> Sketch:
    """Sketches of unit rows x (N, D), in `memory` bytes, for pairs of at least `lo`.

    Args:
        rank: (N,) int64, where each row's is.
    """
    kind = _faster(torch, tile, device)
    padded = -(-len(x) // tile.high) * tile.high
    longest = memory // (padded * (2 if kind == torch.bfloat16 else 4))
    length = _length(directions, lo, kind == torch.bfloat16, longest)
    axes = directions.axes[:, : length - 1]
    rows = torch.zeros((padded, length), dtype=kind, device=device)
    lost = 0.0
    for start in range(0, len(x), step := max(1, NUMBERS // x.shape[1])):
        block = x[start : start + step].astype(np.float64)
        part, error = _rounded(torch, block, axes, kind)
        rows[torch.from_numpy(rank[start : start + step]).to(device)] = part.to(device)
        lost = max(lost, error)
    log.info("pruned: %d of %d dimensions, %s on %s", length, x.shape[1], kind, device)
    threshold = lo - 2 * lost - MARGIN - length * 2.0**-23  # the last for sums in float32
    if kind == torch.bfloat16:  # rounded as the bounds are, so that none falls below it
        return Sketch(rows, torch.tensor(threshold).bfloat16().view(torch.int16).numpy()[()])
    return Sketch(rows, np.float32(threshold))


def principal_directions(x: np.ndarray) -> Directions:
    """Of the unit rows x (N, D), from a sample."""
    rng = np.random.default_rng(0)
    count = min(len(x), SAMPLE, SAMPLED // x.shape[1])
    sample = x[np.sort(rng.choice(len(x), count, replace=False))].astype(np.float64)
    axes = _principal(sample)
    sample = sample[:: -(-len(sample) // PROBE)]
    widest = axes[:, np.argmax((sample @ axes).std(0))]
    return Directions(axes, sample, widest)


def _principal(sample: np.ndarray) -> np.ndarray:
    """Orthonormal columns (D, at most D), the leading directions of the rows first."""
    if len(sample) < sample.shape[1]:
        return np.linalg.svd(sample, full_matrices=False)[2].T
    return np.linalg.eigh(sample.T @ sample)[1][:, ::-1]


def _rounded(torch: ModuleType, x: np.ndarray, axes: np.ndarray, kind: Any) -> tuple[Any, float]:
    """Sketches (B, P + 1) of float64 rows (B, D), and the most that rounding took off a row.

    With y' for y rounded, x = y' + (y - y') + rest, of which the last two are orthogonal. So
    x_i . x_j <= y'_i . y'_j + |y_i - y'_i| + |y_j - y'_j| + r_i r_j, where r is the length of the
    last two together and |y'| <= 1 nearly: MARGIN covers what is above 1.
    """
    y = x @ axes  # (B, P)
    short = torch.from_numpy(y).to(kind)
    error = y - short.double().numpy()
    rest = np.square(x).sum(1) - np.square(y).sum(1) + np.square(error).sum(1)
    r = torch.from_numpy(np.sqrt(np.maximum(rest, 0)) * (1 + 2.0**-7))  # so that it rounds up
    return torch.cat([short, r[:, None].to(kind)], 1), float(np.sqrt(np.square(error).sum(1).max()))


def _length(directions: Directions, lo: float, half: bool, longest: int) -> int:
    """The length of sketches, residual included, that makes the least work, from the sample.

    Nanoseconds a pair on one core, roughly; what counts is where their sum is least.
    """
    axes, sample, _ = directions
    most = min(axes.shape[1] + 1, max(longest, 2))
    y = (sample @ axes).astype(np.float32)  # (S, D)
    guard = lo - (0.005 if half else 0.0)
    product, rest, before = np.zeros((len(y), len(y)), np.float32), np.square(sample).sum(1), 0
    best, least = most, np.inf
    for length in [*(n for n in LENGTHS if n < most), most]:
        block = y[:, before : length - 1]
        product += block @ block.T
        rest = np.maximum(rest - np.square(block).sum(1), 0)
        before = length - 1
        r = np.sqrt(rest, dtype=np.float32)
        above = np.count_nonzero(product + np.outer(r, r) >= guard) - len(y)
        share = above / max(1, len(y) * (len(y) - 1))
        product_cost = 0.2 + length * (0.001 if half else 0.02)
        cost = product_cost + share * (100 + 0.5 * sample.shape[1])
        if cost < least:
            best, least = length, cost
        if product_cost > least:
            break
    return best


def _faster(torch: ModuleType, tile: Tile, device: Any) -> Any:
    """bf16 where this machine multiplies it faster than float32, which not all do."""
    spent = {}
    for kind in (torch.float32, torch.bfloat16):
        high = torch.rand((tile.high, 64), device=device).to(kind)
        wide = torch.rand((tile.wide, 64), device=device).to(kind)
        best = np.inf
        for _ in range(4):
            began = time.perf_counter()
            torch.mm(high, wide.T)
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - began)
        spent[kind] = best
    return min(spent, key=spent.get)
