"""Embeddings of several layers and numbers of views in one pass."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from stages.common.images import ImageStore
from stages.common.params import load_all
from stages.embed import Inputs
from stages.ssl import inference
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.heads import mlp
from stages.ssl.inference import Pass, RandomEmbeddings, encode, encode_each

LAYERS, COUNTS = ("projection", "backbone"), (0, 1, 3)


@pytest.fixture
def passes(project):
    """The encoder, the images, and how to run it on them in batches of 16."""
    torch.manual_seed(0)
    head = mlp(512, 16, 4, norm=None)
    config = EncoderConfig("resnet10", "cifar", 8, (0.3,) * 3, (0.3,) * 3, head)
    encoder, store = Encoder(config).eval(), ImageStore(Inputs.manifest, Inputs.images)
    views = load_all(project / "params.yaml").views

    def run(kind, layers, counts):
        chosen = RandomEmbeddings(views, counts, seed=7)
        return list(kind(encoder, store, store.select("train"), layers, 16, "test", chosen))

    return run


def test_each_has_the_bits_that_it_has_alone(passes):
    together = passes(encode_each, LAYERS, COUNTS)
    assert [list(ids) for ids, _ in together] == [list(range(s, s + 16)) for s in (0, 16, 32)]
    for layer in LAYERS:
        for count in COUNTS:
            alone = passes(encode, layer, (count,))
            for (ids, x), (_, every) in zip(alone, together, strict=True):
                assert len(ids) == len(x)
                np.testing.assert_array_equal(x, every[layer, count])


def test_views_are_the_first_of_one_series(passes):
    _, means = passes(encode_each, ("backbone",), (0, 1, 2, 3))[1]
    plain = means["backbone", 0]
    unit = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    sums = [unit, *(means["backbone", n] * (n + 1) for n in (1, 2, 3))]
    views = [after - before for before, after in itertools.pairwise(sums)]
    for view in views:
        np.testing.assert_allclose(np.linalg.norm(view, axis=1), 1, atol=1e-5)
    assert np.abs(views[0] - views[1]).max() > 1e-3


def test_any_number_of_devices_gives_the_same_bits(passes, monkeypatch):
    one = passes(encode_each, LAYERS, COUNTS)
    monkeypatch.setenv("SEPP_DEVICES", "3")
    for (ids, x), (others, y) in zip(one, passes(encode_each, LAYERS, COUNTS), strict=True):
        assert list(ids) == list(others)
        for key, features in x.items():
            np.testing.assert_array_equal(features, y[key])


def test_one_of_several_processes_uses_its_own_device(passes, monkeypatch):
    """The others have theirs, whatever SEPP_DEVICES says."""
    made = []
    monkeypatch.setattr(inference, "Pass", lambda *of: made.append(Pass(*of)) or made[-1])
    monkeypatch.setenv("SEPP_DEVICES", "3")
    monkeypatch.setenv("LOCAL_RANK", "0")
    passes(encode, "backbone", (0,))
    assert len(made) == 1
