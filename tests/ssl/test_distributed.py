"""Training on two processes (gloo): by Lightning's own launcher and by torchrun."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.common.errors import SeppError
from stages.ssl import distributed
from stages.ssl.batches import Batches
from stages.ssl.encoder import Encoder
from tests.ssl.test_resume import EPOCHS, command, finish, project


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
    assert len(results[0][1]) == 1 + EPOCHS
    assert (
        said.count(f"sampler: {3 * EPOCHS}/{3 * EPOCHS} steps") == 1
    )  # rank 0 alone reports, and writes
    assert not list(tmp_path.glob("*/.state/*/*/last.ckpt"))


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
