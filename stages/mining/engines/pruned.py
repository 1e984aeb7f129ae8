"""Candidates by bounds: a few principal directions rule out nearly all pairs.

Split a unit row into its leading principal directions y and the rest, of length r. By Cauchy and
Schwarz ``x_i . x_j <= y_i . y_j + r_i r_j``. With r as one more coordinate the right side is a dot
product of short vectors, the sketches: so a symmetric join of sketches, tile by tile, leaves few
pairs for the full product. In bf16 it takes half the bytes, and on processors that have it a
fraction of the time; what rounding can do to a bound is measured, and the threshold lowered by it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from stages.common import env
from stages.mining.engines._contract import Candidates, Means
from stages.mining.engines._sketch import Tile, make_sketch

TILES = {"cpu": Tile(1024, 512), "cuda": Tile(16_384, 16_384)}  # bounds in a core's cache, or many
TASK = 16  # tiles
LANE = 64  # bounds of which only the highest is looked at, at first
DENSE = 32  # where more than one pair in so many is a candidate, a tile is multiplied out

Task, Done = TypeVar("Task"), TypeVar("Done")


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
        area, done = sum(join.area(task) for task in join.tasks()), 0
        for task, found in _in_order(join.pairs, join.tasks(), join.threads):
            done += join.area(task)
            # Rows, but by the work that they are.
            means.progress.advance(rows * done // area - means.progress.done)
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
        if not self.on_gpu:
            from stages.mining.engines._scan import scan  # here, since Numba is slow to load

            self.scan = scan
        self.sketch = make_sketch(self.torch, x, lo, self.tile, device, memory)

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
                tile = bounds.numpy(), threshold, self.x, i, j
                above, *pairs = self.scan(*tile, self.lo, self.hi, most)
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
