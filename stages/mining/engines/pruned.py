"""Candidates by bounds: a few principal directions rule out nearly all pairs.

Split a unit row into its leading principal directions y and the rest, of length r. By Cauchy and
Schwarz ``x_i . x_j <= y_i . y_j + r_i r_j``. With r as one more coordinate the right side is a dot
product of short vectors, the sketches: so a symmetric join of sketches, tile by tile, leaves few
pairs for the full product. In bf16 it takes half the bytes, and on processors that have it a
fraction of the time; what rounding can do to a bound is measured, and the threshold lowered by it.
Rows go in the order of one direction, so that tiles of rows too far apart along it are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from stages.common import env
from stages.common.errors import SeppError
from stages.mining.engines._contract import Candidates, Means
from stages.mining.engines._order import make_order
from stages.mining.engines._sketch import LANE, Tile, make_sketch, principal_directions

GPU = "cuda"
TILES = {"cpu": Tile(1024, 512), "cuda": Tile(4096, 4096)}  # bounds in a core's cache, or many
RUN = 16  # tiles, one after the other, fewer where they have many pairs
MANY = 2**18  # pairs, 4 MB
DENSE = 32  # where more than one pair in so many is a candidate, a tile is multiplied out
NUMBERS = 2**26  # float32 of rows at a time that a GPU gathers, 256 MiB


def candidates(x: np.ndarray, lo: float, hi: float, means: Means) -> Candidates:
    """Blocks (i, j) of the rows of x (N, D) whose float32 dot product is inside.

    On a GPU if torch sees one, else on all cores. Memory: 24 bytes and a sketch of each row, the
    sketch shorter if need be for all to fit in half of `means.memory`; 60 MB for every core, even
    if all rows are alike; and 200 MB to begin with. On a GPU, a copy of x there and up to 2 GB.

    Raises SeppError if that is more than the GPU has.
    """
    rows = len(x)
    if rows < 2:
        means.progress.advance(rows)
        return
    torch = import_torch()
    with _settings(torch):
        try:
            join, done = Join(x, lo, hi, means.memory // 2), 0
            for tiles, i, j in join.pairs():
                done += tiles
                # Rows, but by the work that they are.
                means.progress.advance(rows * done // join.tiles - means.progress.done)
                yield i, j
        except torch.OutOfMemoryError as error:
            problem = f"{rows:,} rows of {x.shape[1]} are too many for the GPU's memory"
            raise SeppError(
                f"sepp.engine pruned: {problem}: set SEPP_ACCELERATOR=cpu, or lower embed.k"
            ) from error


class Join:
    """The self-join of one set of rows, tile by tile.

    Args:
        memory: bytes that sketches may take.
        split: only pairs of a row before this with a row from it on; 0: all pairs.
        threads: cores to use, on a CPU; default: all.
    """

    def __init__(
        self,
        x: np.ndarray,
        lo: float,
        hi: float,
        memory: int,
        split: int = 0,
        threads: int | None = None,
    ) -> None:
        self.torch, self.lo, self.hi = import_torch(), lo, hi
        self.on_gpu = threads is None and env.on_gpu(self.torch.cuda.is_available())
        device = self.torch.device(GPU if self.on_gpu else "cpu")
        self.threads = 1 if self.on_gpu else threads or _cores()
        self.tile = TILES[device.type]
        directions = principal_directions(x)
        self.order = make_order(x, directions.widest, lo, split)
        self.bands = list(self.order.bands(self.tile.high))
        self.tiles = sum(len(self._others(*band[1:])) for band in self.bands)
        rank = np.empty(len(x), np.int64)
        rank[self.order.rows] = np.arange(len(x))
        self.sketch = make_sketch(self.torch, x, rank, directions, lo, self.tile, device, memory)
        if self.on_gpu:
            self.x = self._on_gpu(x, rank, device)
        else:
            from stages.mining.engines._scan import scan  # here, since Numba is slow to load

            self.x, self.scan = np.asarray(x), scan

    def pairs(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Tiles done, and what they have: (M,) and (M,) int64 row numbers."""
        tiles, lock, split = self._tiles(), Lock(), self.order.split

        def run() -> tuple[int, np.ndarray, np.ndarray]:
            found, count = [(np.empty(0, np.int64),) * 2], 0
            while count < RUN and sum(len(i) for i, _ in found) < MANY:
                with lock:  # a generator is for one thread at a time
                    tile = next(tiles, None)
                if tile is None:
                    break
                i, j = self._tile(*tile)
                keep = (i < split) & (split <= j) if split else i < j
                found.append((i[keep], j[keep]))
                count += 1
            i, j = (self.order.rows[np.concatenate(column)] for column in zip(*found, strict=True))
            return count, i, j

        # Each thread says for itself that it computes alone: oneDNN asks each one.
        alone = {"initializer": self.torch.set_num_threads, "initargs": (1,)}
        with ThreadPoolExecutor(self.threads, **alone) as pool:
            running = {pool.submit(run) for _ in range(self.threads + 1)}
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    count, i, j = future.result()
                    if count:
                        running.add(pool.submit(run))
                        yield count, i, j

    def _tiles(self) -> Iterator[tuple[int, int]]:
        """Their first ranks."""
        for start, low, high in self.bands:
            for other in self._others(low, high):
                yield start, other

    def _others(self, low: int, high: int) -> range:
        """First ranks of the tiles that cover low up to high, within the sketches."""
        return range(low - low % self.tile.wide, high, self.tile.wide)

    def _tile(self, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """The pairs of the tile at ranks i and j, as ranks."""
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
                tile = bounds.numpy(), threshold, self.x, self.order.rows, i, j
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
        step = max(1, NUMBERS // self.x.shape[1])
        parts = zip(i.split(step), j.split(step), strict=True)
        value = self.torch.cat([(self.x[a] * self.x[b]).sum(1) for a, b in parts])
        keep = (self.lo <= value) & (value <= self.hi)
        return i[keep].cpu().numpy(), j[keep].cpu().numpy()

    def _multiplied(self, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """The same of all pairs of a tile."""
        value = self._rows(i, self.tile.high) @ self._rows(j, self.tile.wide).T
        first, second = ((self.lo <= value) & (value <= self.hi)).nonzero().cpu().numpy().T
        return first + i, second + j

    def _rows(self, start: int, count: int) -> Any:
        """Those of ranks from `start` on, a tensor."""
        if self.on_gpu:
            return self.x[start : start + count]
        return self.torch.from_numpy(self.x[self.order.rows[start : start + count]])

    def _on_gpu(self, x: np.ndarray, rank: np.ndarray, device: Any) -> Any:
        """A copy of the rows, by rank."""
        copy = self.torch.empty(x.shape, device=device)
        for start in range(0, len(x), step := max(1, NUMBERS // x.shape[1])):
            place = self.torch.from_numpy(rank[start : start + step]).to(device)
            copy[place] = self.torch.tensor(x[start : start + step], device=device)
        return copy


def _cores() -> int:
    """Those that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


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
