"""Embeddings that a GPU computes, beside the CPU's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.common.images import ImageStore
from stages.ssl import inference
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.inference import RandomEmbeddings, encode
from tests.conftest import write_data
from tests.ssl.tiny import common_views

IMAGES = 512


@pytest.fixture
def images(tmp_path) -> ImageStore:
    write_data(tmp_path, train=IMAGES)
    return ImageStore(tmp_path / "data/manifest.parquet", tmp_path / "data/images.npy")


def encoder() -> Encoder:
    """A ResNet18 with random weights, whose batch norms have seen images."""
    torch.manual_seed(0)
    config = EncoderConfig("resnet18", "cifar", 32, (0.5,) * 3, (0.25,) * 3)
    made = Encoder(config).train()
    with torch.no_grad():
        for _ in range(3):
            made(torch.randn(64, 3, 32, 32))
    return made.eval()


def features(store: ImageStore, views: RandomEmbeddings | None = None) -> np.ndarray:
    """Unit rows."""
    ids = store.select("train")
    parts = encode(encoder(), store, ids, "backbone", 128, "embed", views)
    x = np.concatenate([features for _, features in parts]).astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_embeddings_without_tf32(images, accelerate, tell, monkeypatch):
    """Near enough for a threshold: cosines differ by far less than a hundredth."""
    there = features(images)
    assert np.array_equal(there, features(images))  # bits, from run to run
    monkeypatch.setattr(inference, "exact", lambda: torch.backends.cudnn.flags(allow_tf32=True))
    rounded = features(images)
    monkeypatch.undo()
    accelerate(False)
    here = features(images)
    far, further = (float(abs(x @ x.T - here @ here.T).max()) for x in (there, rounded))
    tell(f"cosines differ by at most {far:.1e}; with TF32 by {further:.1e}")
    assert far < 1e-5


def test_all_devices_give_the_same_bits(images, accelerate, tell, monkeypatch):
    count = torch.cuda.device_count()
    if count < 2:
        pytest.skip("needs two GPUs")
    views = RandomEmbeddings(common_views(), (0, 2))
    one = features(images, views)
    monkeypatch.setenv("SEPP_DEVICES", str(count))
    assert np.array_equal(one, features(images, views))
    tell(f"{count} devices")


def test_trained_there_and_used_here(tmp_path: Path, on, tell):
    """An encoder that was saved from the device gives the same features on the CPU."""
    made = encoder().to(on)
    made.save(tmp_path / "made")
    x = torch.randn(64, 3, 32, 32)
    with inference.exact(), torch.inference_mode():
        there, here = made(x.to(on)).cpu(), Encoder.load(tmp_path / "made")(x)
    far = float((there - here).norm() / here.norm())
    tell(f"features differ by {far:.1e}")
    assert far < 1e-4
