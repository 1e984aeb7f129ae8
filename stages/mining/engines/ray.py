"""Candidates by the pruned join, spread over a Ray cluster: a task for each two parts of the rows.

Rows go out, and pairs come back, as Parquet files in a folder that all nodes see. Ray starts a task
again whose worker died.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.common.errors import SeppError
from stages.mining.engines import pruned
from stages.mining.engines._contract import Candidates, Means

PART = 2**16  # rows, at most
SHARE = 4  # tasks for each core, at least, so that all end at about the same time
RETRIES = 5  # of a task


def candidates(x: np.ndarray, lo: float, hi: float, means: Means) -> Candidates:
    """Blocks (start, i, j), i < j, of the rows of x (N, D) whose float32 dot product is inside.

    On the cluster that RAY_ADDRESS names, else on this machine's cores. Memory on each core: two
    parts of the rows, and what `pruned` needs for them.

    Raises SeppError if Ray is not installed, or a task fails for good.
    """
    ray, rows = _import_ray(), len(x)
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    size = part_size(rows, int(ray.cluster_resources().get("CPU", 1)))
    starts = range(0, rows, size)
    with tempfile.TemporaryDirectory(prefix=".ray-", dir=means.scratch.resolve()) as folder:
        for start in starts:
            _write_rows(Path(folder, f"{start}.parquet"), x[start : start + size])
        join = ray.remote(num_cpus=1, max_retries=RETRIES)(join_parts)
        tasks = [(a, b) for a in starts for b in starts[a // size :]]
        results = [join.remote(folder, a, b, lo, hi, means.memory) for a, b in tasks]
        for number, ((a, _), result) in enumerate(zip(tasks, results, strict=True), 1):
            try:
                found = pq.read_table(ray.get(result))
            except ray.exceptions.RayError as error:
                raise SeppError(f"sepp.engine ray: {str(error).strip().splitlines()[-1]}") from None
            means.progress.advance(rows * number // len(tasks) - means.progress.done)
            yield a, found["i"].to_numpy(), found["j"].to_numpy()


def part_size(rows: int, cores: int) -> int:
    """Rows of a part: whole tiles of the join, so that each part but the last is whole."""
    parts = 1
    while parts * (parts + 1) // 2 < SHARE * cores:
        parts += 1
    tile = pruned.TILES["cpu"].high
    return min(PART, -(-max(rows, 1) // (parts * tile)) * tile)


def join_parts(folder: str, a: int, b: int, lo: float, hi: float, memory: int) -> str:
    """The task: pairs of the part from row a with that from row b; the name of their file."""
    result = Path(folder, f"{a}-{b}.parquet")
    first = _read_rows(Path(folder, f"{a}.parquet"))
    both = first if a == b else np.concatenate([first, _read_rows(Path(folder, f"{b}.parquet"))])
    pruned.import_torch().set_num_threads(1)
    join = pruned.Join(both, lo, hi, memory, 0 if a == b else len(first))
    found = [join.pairs(task) for task in join.tasks()]
    columns = [np.concatenate([pair[k] for pair in found]) for k in range(2)]
    i, j = (np.where(c < len(first), c + a, c - len(first) + b) for c in columns)
    partial = result.with_suffix(f".{os.getpid()}")
    pq.write_table(pa.table({"i": i, "j": j}), partial)
    os.replace(partial, result)
    return str(result)


def _write_rows(path: Path, x: np.ndarray) -> None:
    rows = pa.FixedSizeListArray.from_arrays(x.reshape(-1), x.shape[1])
    pq.write_table(pa.table({"embedding": rows}), path)


def _read_rows(path: Path) -> np.ndarray:
    column = pq.read_table(path)["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise SeppError(
            'sepp.engine ray: Ray is not installed; run `pip install -e ".[ray]"`'
        ) from None
    return ray
