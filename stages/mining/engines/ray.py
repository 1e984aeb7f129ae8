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
FOUND = pa.schema([("i", pa.int64()), ("j", pa.int64())])
PAIRS = 2**20  # that are read at a time


def candidates(x: np.ndarray, lo: float, hi: float, means: Means) -> Candidates:
    """Blocks (i, j) of the rows of x (N, D) whose float32 dot product is inside.

    On the cluster that RAY_ADDRESS names, else on this machine's cores. Memory on each core: two
    parts of the rows, and what `pruned` needs for them, within a share of `means.memory`.

    Raises SeppError if Ray is not installed, no cluster answers, or a task fails for good.
    """
    ray, rows = _import_ray(), len(x)
    _connect(ray)
    cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    memory = means.memory // max(1, *cores)
    size = part_size(rows, sum(cores))
    starts = range(0, rows, size)
    scratch = means.scratch and means.scratch.resolve()
    with tempfile.TemporaryDirectory(prefix=".ray-", dir=scratch) as folder:
        for start in starts:
            _write_rows(Path(folder, f"{start}.parquet"), x[start : start + size])
        join = ray.remote(num_cpus=1, max_retries=RETRIES)(join_parts)
        tasks = [(a, b) for a in starts for b in starts[a // size :]]
        results = [join.remote(folder, a, b, lo, hi, memory) for a, b in tasks]
        for number, reference in enumerate(results, 1):
            try:
                result = ray.get(reference)
            except ray.exceptions.RayError as error:
                raise SeppError(f"sepp.engine ray: {str(error).strip().splitlines()[-1]}") from None
            means.progress.advance(rows * number // len(tasks) - means.progress.done)
            for block in pq.ParquetFile(result).iter_batches(PAIRS):
                yield block["i"].to_numpy(), block["j"].to_numpy()


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
    join = pruned.Join(both, lo, hi, memory // 2, 0 if a == b else len(first), threads=1)
    partial = result.with_suffix(f".{os.getpid()}")
    with pq.ParquetWriter(partial, FOUND) as writer:
        for _, *pair in join.pairs():
            columns = (np.where(c < len(first), c + a, c - len(first) + b) for c in pair)
            writer.write_table(pa.table(list(columns), FOUND))
    os.replace(partial, result)
    return str(result)


def _write_rows(path: Path, x: np.ndarray) -> None:
    rows = pa.FixedSizeListArray.from_arrays(x.reshape(-1), x.shape[1])
    pq.write_table(pa.table({"embedding": rows}), path)


def _read_rows(path: Path) -> np.ndarray:
    column = pq.read_table(path)["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


def _connect(ray: ModuleType) -> None:
    if ray.is_initialized():
        return
    try:
        ray.init(log_to_driver=False, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        address = os.environ.get("RAY_ADDRESS", "(not set)")
        reason = str(error).strip().splitlines()[0]
        raise SeppError(
            f"environment: RAY_ADDRESS={address}: {reason}; "
            "`ray start --head` prints the address of a cluster that it starts"
        ) from None


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise SeppError(
            'sepp.engine ray: Ray is not installed; run `pip install -e ".[ray]"`'
        ) from None
    return ray
