"""Candidates by the pruned join, spread over a Ray cluster: a task for each two parts of the rows.

Rows go out, and pairs come back, as Parquet files in a folder that all nodes see. Ray starts a task
again whose worker died.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.common.errors import SeppError
from stages.mining.engines import pruned
from stages.mining.engines._contract import Candidates, Means

SHARE = 4  # tasks for each core, at least, so that all end at about the same time
RETRIES = 5  # of a task
FOUND = pa.schema([("i", pa.int64()), ("j", pa.int64())])
PAIRS = 2**20  # that are read at a time
READ = 2**12  # rows that are
SECONDS = 5  # to wait for a cluster to answer


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
    size = part_size(rows, sum(cores), memory // (4 * max(1, x[:1].nbytes)))
    starts = range(0, rows, size)
    scratch = means.scratch and means.scratch.resolve()
    with tempfile.TemporaryDirectory(prefix=".ray-", dir=scratch) as folder:
        for start in starts:
            _write_rows(Path(folder, f"{start}.parquet"), x[start : start + size])
        join = ray.remote(num_cpus=1, max_retries=RETRIES)(join_parts)
        tasks = [(a, b) for a in starts for b in starts[a // size :]]
        results = [join.remote(folder, a, b, lo, hi, memory) for a, b in tasks]
        try:
            for number, result in enumerate(map(ray.get, results), 1):
                means.progress.advance(rows * number // len(tasks) - means.progress.done)
                for block in pq.ParquetFile(result, pre_buffer=False).iter_batches(PAIRS):
                    yield block["i"].to_numpy(), block["j"].to_numpy()
        except ray.exceptions.RayError as error:
            raise SeppError(f"sepp.engine ray: {str(error).strip().splitlines()[-1]}") from None


def part_size(rows: int, cores: int, most: int) -> int:
    """Rows of a part: tasks enough for all cores, and at most so many rows, or one tile's."""
    parts = 1
    while parts * (parts + 1) // 2 < SHARE * cores:
        parts += 1
    tile = pruned.TILES["cpu"].high
    return min(-(-max(rows, 1) // (parts * tile)), max(1, most // tile)) * tile


def join_parts(folder: str, a: int, b: int, lo: float, hi: float, memory: int) -> str:
    """The task: pairs of the part from row a with that from row b; the name of their file."""
    result = Path(folder, f"{a}-{b}.parquet")
    paths = [Path(folder, f"{part}.parquet") for part in dict.fromkeys((a, b))]
    files = [pq.ParquetFile(path, pre_buffer=False) for path in paths]
    x, first = _read_rows(files), files[0].metadata.num_rows
    join = pruned.Join(x, lo, hi, memory // 4, 0 if a == b else first, threads=1)
    partial = result.with_suffix(f".{os.getpid()}")
    with pq.ParquetWriter(partial, FOUND) as writer:
        for _, *pair in join.pairs():
            columns = (np.where(c < first, c + a, c - first + b) for c in pair)
            writer.write_table(pa.table(list(columns), FOUND))
    os.replace(partial, result)
    return str(result)


def _write_rows(path: Path, x: np.ndarray) -> None:
    rows = pa.FixedSizeListArray.from_arrays(x.reshape(-1), x.shape[1])
    pq.write_table(pa.table({"embedding": rows}), path)


def _read_rows(files: list[pq.ParquetFile]) -> np.ndarray:
    """(N, D) float32: all of one, then all of the next, copied once."""
    dim = files[0].schema_arrow.field("embedding").type.list_size
    x = np.empty((sum(file.metadata.num_rows for file in files), dim), np.float32)
    start = 0
    for file in files:
        for block in file.iter_batches(READ):
            x[start : start + len(block)] = block["embedding"].flatten().to_numpy().reshape(-1, dim)
            start += len(block)
    return x


def _connect(ray: ModuleType) -> None:
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit():  # Ray itself goes on trying for a quarter of an hour
            socket.create_connection((host, int(port)), SECONDS).close()
        ray.init(log_to_driver=False, include_dashboard=False)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SeppError(
            f"environment: RAY_ADDRESS={address}: {reason}; `ray start --head` starts a cluster "
            "and says its address; if it asks for a token, set RAY_AUTH_MODE=token here too"
        ) from None


def _import_ray() -> ModuleType:
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of tasks that nobody waits for
    try:
        import ray
    except ImportError:
        raise SeppError(
            'sepp.engine ray: Ray is not installed; run `pip install -e ".[ray]"`'
        ) from None
    return ray
