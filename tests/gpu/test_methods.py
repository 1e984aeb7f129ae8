"""Each method's loss, gradients and training on a GPU."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from stages.ssl.backbones import build_backbone
from stages.ssl.encoder import exact
from stages.ssl.methods import Batch, Method, find_method
from stages.ssl.partners import Partners
from tests.ssl.tiny import METHODS, common_views, values
from tests.ssl.training import broken_and_resumed, train_tiny, write_project

SIZE, ROWS = 32, 32


@pytest.fixture
def project(tmp_path, monkeypatch, accelerate):
    """A tiny project as working directory, which saves a state at every epoch's end."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_STATE_DIR", str(tmp_path / ".state"))
    monkeypatch.setenv("SEPP_CHECKPOINT_SECONDS", "0")
    return tmp_path


def loss_and_gradients(method: Method, device: torch.device) -> tuple[float, Tensor]:
    """Of one step on seeded views of 24 images and 8 pairs, without TF32."""
    made = torch.Generator().manual_seed(1)
    ids = torch.arange(ROWS)
    other = torch.where(ids < 24, ids, ids - 24)
    common = common_views().model_copy(update={"image_size": SIZE})
    sizes = [views.image_size for views in method.row_views(common)]
    first, second, *extra = (
        torch.randn(ROWS, 3, size, size, generator=made).to(device) for size in sizes
    )
    partners = Partners(ids.numpy(), other.numpy()).to(device) if method.has_negatives else None
    weight = torch.where(ids < 24, 1.0, 0.5)
    batch = Batch(*(x.to(device) for x in (ids, other, weight)), extra, partners=partners)
    method = method.to(device)
    with exact():
        loss = method.step(first, second, batch).loss
        loss.backward()
    found = [p.grad.flatten().cpu() for p in method.parameters() if p.grad is not None]
    return loss.item(), torch.cat(found)


@pytest.mark.parametrize("name", METHODS)
def test_loss_and_gradients(on, tell, name):
    """Those of the CPU. What differs is the order of sums, which a batch norm magnifies."""
    kind = find_method(name)
    torch.manual_seed(0)
    method = kind(
        kind.Params(**values(name)), lambda: build_backbone("resnet10-w16", "cifar", SIZE)
    )
    loss, gradients = loss_and_gradients(copy.deepcopy(method), torch.device("cpu"))
    there, others = loss_and_gradients(method, on)
    far = float((gradients - others).norm() / gradients.norm())
    tell(f"loss {loss:.5f} and {there:.5f}; gradients differ by {far:.1e}")
    assert there == pytest.approx(loss, rel=1e-4)
    assert far < 1e-2


@pytest.mark.parametrize("name", METHODS)
def test_bf16_beside_fp32(project, tell, name):
    runs = [train_tiny(name, 1, precision=precision)[1] for precision in ("fp32", "bf16")]
    exactly, rounded = (run[-1]["loss"] for run in runs)
    tell(f"loss {exactly:.4f} and {rounded:.4f}")
    assert math.isfinite(rounded)
    assert rounded == pytest.approx(exactly, rel=0.15, abs=0.02)


@pytest.mark.parametrize("name", METHODS)
def test_killed_and_resumed(project, monkeypatch, tell, name):
    """The same bits as the unbroken training."""
    (whole, history), (resumed, again) = broken_and_resumed(name, monkeypatch, precision="auto")
    one, other = whole.state_dict(), resumed.state_dict()
    differ = [key for key, value in one.items() if not torch.equal(value, other[key])]
    tell(f"{len(one) - len(differ)} of {len(one)} tensors have the same bits")
    assert not differ
    assert again == history
