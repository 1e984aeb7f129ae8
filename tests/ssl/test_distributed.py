"""Training on two processes (gloo): by Lightning's own launcher and by torchrun."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn

from stages.common.errors import SeppError
from stages.ssl import distributed
from stages.ssl.batches import Batches
from stages.ssl.encoder import Encoder
from stages.ssl.methods import Batch
from stages.ssl.methods.moco import MoCo, MoCoParams
from tests.ssl.test_moco import VALUES
from tests.ssl.test_resume import command, finish, project


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def outputs(folder: Path) -> tuple[np.ndarray, list[str]]:
    """Weights of the trained sampler, and its curve."""
    encoder = Encoder.load(folder / "models/sampler")
    weights = torch.cat([p.flatten() for p in encoder.parameters()]).detach().numpy()
    return weights, (folder / "reports/plots/sampler.csv").read_text().splitlines()


@pytest.mark.slow
def test_lightning_and_torchrun_train_the_same_on_two_processes(tmp_path):
    folders = {name: project(tmp_path / name) for name in ("lightning", "torchrun")}
    said = finish(command(folders["lightning"], "stages.sampler", SEPP_DEVICES="2"))
    finish(
        command(
            folders["torchrun"],
            *("torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"),
            *("-m", "stages.sampler"),
            SEPP_DEVICES="2",
        )
    )
    results = [outputs(folder) for folder in folders.values()]
    assert np.isfinite(results[0][0]).all()
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert len(results[0][1]) == 1 + 12
    assert said.count("sampler: 36/36 steps") == 1  # rank 0 alone reports, and writes
    assert not list(tmp_path.glob("*/.state/*/*/last.ckpt"))


def step_of_moco(rank: int, world: int, port: int, queue: multiprocessing.Queue) -> None:
    """One MoCo step on this process's share of a batch; sends loss, gradient and queue."""
    torch.set_num_threads(1)
    if world > 1:
        address = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 7))
    model = MoCo(MoCoParams(**{**VALUES, "queue": 32}), lambda: (net, 7))
    x = torch.randn(2, 8, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(8)
    weight = torch.linspace(0.1, 1, 8)
    first, second, anchor, positive, mine = map(
        distributed.share, (x[0], x[1], ids, ids + 10, weight)
    )
    torch.manual_seed(5)  # the same shuffle of keys on every process
    step = model.step(first, second, Batch(anchor, positive, mine))
    step.loss.backward()
    gradient = model.projection.layers[0].weight.grad
    sent = (
        rank,
        step.loss.item(),
        gradient.tolist(),
        model.queue.tolist(),
        model.queue_ids.tolist(),
    )
    queue.put(sent)
    queue.close()
    queue.join_thread()
    if world > 1:
        dist.destroy_process_group()


def run(world: int) -> list[tuple]:
    context = multiprocessing.get_context("spawn")
    results, port = context.Queue(), free_port()
    workers = [
        context.Process(target=step_of_moco, args=(rank, world, port, results))
        for rank in range(world)
    ]
    for worker in workers:
        worker.start()
    found = sorted(results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    return found


@pytest.mark.slow
def test_two_processes_make_the_step_of_one():
    (whole,), halves = run(1), run(2)
    assert np.mean([h[1] for h in halves]) == pytest.approx(whole[1], rel=1e-5)
    mean_gradient = np.mean([np.array(h[2]) for h in halves], axis=0)  # as DDP averages them
    np.testing.assert_allclose(mean_gradient, np.array(whole[2]), rtol=1e-4, atol=1e-6)
    for half in halves:  # every process has all keys, each with its image
        keys = {i: row for i, row in zip(half[4], half[3], strict=True) if i >= 0}
        expected = {i: row for i, row in zip(whole[4], whole[3], strict=True) if i >= 0}
        assert keys.keys() == expected.keys()
        for image, row in expected.items():
            np.testing.assert_allclose(keys[image], row, rtol=1e-4, atol=1e-6)


def test_alone_gather_and_share_are_the_identity():
    x = torch.rand(4, 2)
    assert torch.equal(distributed.gather(x), x)
    assert torch.equal(distributed.share(x), x)
    assert (distributed.world_size(), distributed.rank()) == (1, 0)


def test_a_batch_that_does_not_split_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    with pytest.raises(SeppError, match="batch_size 15 does not split over 2 processes"):
        Batches(60, 15, 0).loader()
