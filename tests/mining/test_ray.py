"""Mining over Ray: two nodes of one core each, and a worker that dies."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stages.mining import find_pairs
from stages.mining.engines import ray as engine

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    from ray.cluster_utils import Cluster

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    yield
    ray.shutdown()
    nodes.shutdown()


def rows(count: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, dim))[rng.integers(20, size=count)]
    x += 0.15 * rng.standard_normal(x.shape)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def same(x: np.ndarray, scratch: Path) -> bool:
    alone = find_pairs(x, 0.97, 0.99, "pruned")
    spread = find_pairs(x, 0.97, 0.99, "ray", scratch=scratch)
    assert len(alone.anchor) > 100
    return all(a.tobytes() == b.tobytes() for a, b in zip(alone, spread, strict=True))


def test_same_pairs_on_two_nodes(cluster, tmp_path):
    assert len(ray.nodes()) == 2
    assert same(rows(6001, 64), tmp_path)
    assert not list(tmp_path.iterdir())


def workers() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["name"]) if "ray::join_parts" in p.info["name"]]


def test_same_pairs_after_a_worker_was_killed(cluster, tmp_path):
    killed = []

    def kill() -> None:
        while not killed:
            # Once the work is half done, so that there are results of the worker, and more to come.
            busy = workers() if len(list(tmp_path.glob(".ray-*/*-*.parquet"))) > 3 else []
            if busy:
                os.kill(busy[0].pid, signal.SIGKILL)
                killed.append(busy[0].pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert same(rows(20_001, 256), tmp_path)
    killer.join(5)
    assert killed
    assert killed[0] not in [p.pid for p in workers()]


@pytest.mark.parametrize(
    ("count", "cores", "most", "size"),
    [(0, 1, 9, 1024), (5, 64, 9999, 1024), (6001, 2, 9999, 2048), (10**7, 4, 70_000, 68 * 1024)],
)
def test_parts_are_enough_and_not_too_large(count, cores, most, size):
    assert engine.part_size(count, cores, most) == size
