"""Candidates by bounds: a few principal directions rule out nearly all pairs.

Split a unit row into its leading principal directions y and the rest, of length r. By Cauchy and
Schwarz ``x_i . x_j <= y_i . y_j + r_i r_j``. With r as one more coordinate the right side is a dot
product of short vectors, the sketches: so a symmetric join of sketches, tile by tile, leaves few
pairs for the full product. In bf16 it takes half the bytes, and on processors that have it a
fraction of the time; what rounding can do to a bound is measured, and the threshold lowered by it.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from stages.common import env
from stages.mining.engines._contract import Candidates, Means

log = logging.getLogger(__name__)


class Tile(NamedTuple):
    """Rows by rows whose bounds are computed at once."""

    high: int
    wide: int  # divides high


TILES = {"cpu": Tile(1024, 512), "cuda": Tile(16_384, 16_384)}  # bounds in a core's cache, or many
TASK = 16  # tiles
LANE = 64  # bounds of which only the highest is looked at, at first
SAMPLE, PROBE = 16_384, 1_024  # rows that tell the directions; rows that tell how many are needed
NUMBERS = 2**23  # float64 at a time, 64 MiB, of rows of which sketches are made
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # of a sketch
MARGIN = 1e-4  # more than what norms above 1 add to a bound
DENSE = 32  # where more than one pair in so many is a candidate, a tile is multiplied out

Task, Done = TypeVar("Task"), TypeVar("Done")


class Sketch(NamedTuple):
    """rows: (M, P + 1) tensor, bf16 or float32; those past N are zero, and M divides into tiles.
    threshold: what the bound of every pair with a similarity of at least `lo` reaches: of bf16, the
    integer that its bits look like.
    """

    rows: Any
    threshold: float


def candidates(x: np.ndarray, lo: float, hi: float, means: Means) -> Candidates:
    """Blocks (start, i, j), i < j, of the rows of x (N, D) whose float32 dot product is inside.

    On a GPU if torch sees one, else on all cores. Memory: a sketch of each row, shorter if need be
    for all to fit in half of `means.memory`; and for every core the pairs of three tasks, which
    only where nearly all rows are alike are many (a task then has 8 million, 130 MB). On a GPU, a
    copy of x there, and what a tile of it needs: 1 GB, or more where many rows are alike.
    """
    rows = len(x)
    if rows < 2:
        means.progress.advance(rows)
        return
    with _settings(import_torch()):
        join = Join(x, lo, hi, means.memory // 2)
        area, done, told = sum(join.area(task) for task in join.tasks()), 0, 0
        for task, found in _in_order(join.pairs, join.tasks(), join.threads):
            done += join.area(task)
            now = rows * done // area  # rows, but by the work that they are
            means.progress.advance(now - told)
            told = now
            yield task[0], *found


class Join:
    """The self-join of one set of rows.

    A task is the first row of a band of tiles, and the first of the tiles' other rows.

    Args:
        memory: bytes that sketches may take.
        split: only pairs of a row before this with a row from it on; 0: all pairs.
    """

    def __init__(self, x: np.ndarray, lo: float, hi: float, memory: int, split: int = 0) -> None:
        self.torch, self.lo, self.hi, self.split = import_torch(), lo, hi, split
        self.on_gpu = env.on_gpu(self.torch.cuda.is_available())
        device = self.torch.device("cuda" if self.on_gpu else "cpu")
        self.threads = 1 if self.on_gpu else _cores()
        self.tile = TILES[device.type]
        self.x = self.torch.from_numpy(x).to(device) if self.on_gpu else np.asarray(x)
        self.sketch = _sketch(self.torch, x, lo, self.tile, device, memory)

    def tasks(self) -> Iterator[tuple[int, int]]:
        rows, step = len(self.x), self.tile.wide * TASK
        for i in range(0, self.split or rows, self.tile.high):
            for j in range(max(i, self.split), rows, step):
                yield i, j

    def area(self, task: tuple[int, int]) -> int:
        """Tiles of it."""
        left = -(-(len(self.x) - task[1]) // self.tile.wide)
        return min(TASK, left)

    def pairs(self, task: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """(M,) and (M,) int64 row numbers, i < j."""
        start, first = task
        others = range(first, first + self.area(task) * self.tile.wide, self.tile.wide)
        found = [self._tile(start, other) for other in others]
        i, j = (np.concatenate(column) for column in zip(*found, strict=True))
        return i[i < j], j[i < j]

    def _tile(self, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """The pairs of the tile at rows i and j."""
        rows, threshold = self.sketch
        most = self.tile.high * self.tile.wide // DENSE
        if threshold > 0:  # else nothing is ruled out, and a padded row's bound is 0
            bounds = self.torch.mm(rows[i : i + self.tile.high], rows[j : j + self.tile.wide].T)
            if bounds.dtype == self.torch.bfloat16:  # positive ones are ordered as the integers
                bounds = bounds.view(self.torch.int16)  # they look like, which compare faster
            if self.on_gpu:
                above = self._above(bounds, threshold)
                if len(above[0]) <= most:
                    return self._refined(above[0] + i, above[1] + j)
            else:
                from stages.mining.engines._scan import scan

                above, *pairs = scan(
                    bounds.numpy(), threshold, self.x, i, j, self.lo, self.hi, most
                )
                if above >= 0:
                    return tuple(pairs)
        return self._multiplied(i, j)

    def _above(self, bounds: Any, threshold: float) -> tuple[Any, Any]:
        """Where a tile's bounds are high enough."""
        lanes = bounds.view(-1, LANE, self.tile.wide)
        lane, column = (lanes.amax(1) >= threshold).nonzero().T
        hit, place = (lanes[lane, :, column] >= threshold).nonzero().T
        return lane[hit] * LANE + place, column[hit]

    def _refined(self, i: Any, j: Any) -> tuple[np.ndarray, np.ndarray]:
        """Those of the pairs whose full product is in the interval."""
        value = (self.x[i] * self.x[j]).sum(1)
        keep = (self.lo <= value) & (value <= self.hi)
        return i[keep].cpu().numpy(), j[keep].cpu().numpy()

    def _multiplied(self, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """The same of all pairs of a tile."""
        value = self.x[i : i + self.tile.high] @ self.x[j : j + self.tile.wide].T
        inside = ((self.lo <= value) & (value <= self.hi)).nonzero()
        first, second = inside.T.cpu().numpy() if self.on_gpu else inside
        return first + i, second + j


def _sketch(
    torch: ModuleType, x: np.ndarray, lo: float, tile: Tile, device: Any, memory: int
) -> Sketch:
    rng = np.random.default_rng(0)
    count = min(len(x), SAMPLE, NUMBERS // x.shape[1])
    sample = x[np.sort(rng.choice(len(x), count, replace=False))].astype(np.float64)
    directions = _principal(sample)
    kind = _faster(torch, tile, device)
    padded = -(-len(x) // tile.high) * tile.high
    longest = memory // (padded * (2 if kind == torch.bfloat16 else 4))
    length = _length(
        sample[:: -(-len(sample) // PROBE)], directions, lo, kind == torch.bfloat16, longest
    )
    axes = directions[:, : length - 1]
    rows = torch.zeros((padded, length), dtype=kind, device=device)
    lost = 0.0
    for start in range(0, len(x), step := max(1, NUMBERS // x.shape[1])):
        block = x[start : start + step].astype(np.float64)
        part, error = _rounded(torch, block, axes, kind)
        rows[start : start + len(block)] = part.to(device)
        lost = max(lost, error)
    log.info("pruned: %d of %d dimensions, %s on %s", length, x.shape[1], kind, device)
    threshold = lo - 2 * lost - MARGIN - length * 2.0**-23  # the last for sums in float32
    if kind == torch.bfloat16:  # rounded as the bounds are, so that none falls below it
        return Sketch(rows, torch.tensor(threshold).bfloat16().view(torch.int16).numpy()[()])
    return Sketch(rows, np.float32(threshold))


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


def _length(sample: np.ndarray, directions: np.ndarray, lo: float, half: bool, longest: int) -> int:
    """The length of sketches, residual included, that makes the least work, from a sample.

    Nanoseconds a pair on one core, roughly; what counts is where their sum is least.
    """
    most = min(directions.shape[1] + 1, max(longest, 2))
    y = (sample @ directions).astype(np.float32)  # (S, D)
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


def _cores() -> int:
    """Those that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _in_order(
    work: Callable[[Task], Done], tasks: Iterable[Task], threads: int
) -> Iterator[tuple[Task, Done]]:
    """Each task and what `work` makes of it, in order, a few tasks ahead of who asks."""
    ahead: deque = deque()
    # Each thread says for itself that it computes alone: oneDNN asks each one.
    alone = {"initializer": import_torch().set_num_threads, "initargs": (1,)}
    with ThreadPoolExecutor(threads, **alone) as pool:
        for task in tasks:
            ahead.append((task, pool.submit(work, task)))
            if len(ahead) > 2 * threads:
                first, future = ahead.popleft()
                yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()


@contextmanager
def _settings(torch: ModuleType) -> Iterator[None]:
    """One thread for each tile, and float32 products in float32; then as before."""
    threads, backends = torch.get_num_threads(), torch.backends
    products = backends.cuda.matmul, backends.mkldnn.matmul
    precisions = [product.fp32_precision for product in products]
    reduced = backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    try:
        torch.set_num_threads(1)
        for product in products:
            product.fp32_precision = "ieee"
        backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        yield
    finally:
        torch.set_num_threads(threads)
        for product, precision in zip(products, precisions, strict=True):
            product.fp32_precision = precision
        backends.cuda.matmul.allow_bf16_reduced_precision_reduction = reduced


def import_torch() -> ModuleType:
    import torch  # here, since it is slow to load and only this engine needs it

    return torch
