"""Batches are a function of (seed, epoch, step), whoever asks and whenever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from stages.common import artifacts
from stages.common.errors import SeppError
from stages.common.images import ImageStore
from stages.common.params import load_all
from stages.ssl.batches import Batches, PairBatches, Rows, instance_rows, read_rows, step_seed
from tests.conftest import write_folder_data


@pytest.fixture
def store(project) -> ImageStore:
    return ImageStore(Path("data/manifest.parquet"), Path("data/images.npy"))


def pairs(store: ImageStore, rows: Rows | None = None, size: int = 8, seed: int = 0) -> PairBatches:
    views = load_all(Path("params.yaml")).views
    rows = rows or instance_rows(store.select("train"))
    return PairBatches(rows, store, [views, views], size, seed, "pretrain")


def test_an_epoch_shows_every_row_once_but_the_tail(store):
    batches = pairs(store, size=10)
    shown = [int(i) for step in range(len(batches)) for i in batches[(0, step)]["anchor"]]
    assert len(shown) == len(set(shown)) == 40  # of 48
    other = [int(i) for step in range(len(batches)) for i in batches[(1, step)]["anchor"]]
    assert shown != other
    assert set(shown) != set(other)  # another tail is left out


def test_equal_keys_equal_batches_in_any_order(store):
    a, b = pairs(store), pairs(store)
    later = b[(3, 2)]
    for epoch in range(4):
        for step in range(len(a)):
            first = a[(epoch, step)]
            if (epoch, step) == (3, 2):
                assert all(torch.equal(first[k], later[k]) for k in first)
    assert not torch.equal(pairs(store, seed=1)[(0, 0)]["anchor"], a[(0, 0)]["anchor"])


def test_rows_keep_their_members_together(store):
    rows = Rows(np.arange(20), np.arange(20) + 20, np.linspace(0.1, 1, 20, dtype=np.float32), 0)
    batch = pairs(store, rows)[(0, 0)]
    assert torch.equal(batch["positive"], batch["anchor"] + 20)
    torch.testing.assert_close(
        batch["weight"], torch.from_numpy(rows.weight)[batch["anchor"]], rtol=0, atol=0
    )


def test_processes_share_a_batch():
    whole, halves = Batches(64, 16, seed=0), [Batches(64, 16, seed=0) for _ in range(2)]
    for rank, half in enumerate(halves):
        half.rank, half.world = rank, 2
    together = np.concatenate([half.rows(2, 1) for half in halves])
    np.testing.assert_array_equal(together, whole.rows(2, 1))


def test_rows_of_weight_zero_are_left_out(tmp_path):
    table = pa.table(
        {
            "anchor": [0, 1, 0],
            "positive": [0, 1, 1],
            "weight": pa.array([1, 1, 0], pa.float32()),
            "kind": pa.array(["instance", "instance", "semantic"]).dictionary_encode(),
        }
    )
    artifacts.write_parquet(tmp_path / "rows.parquet", table, artifacts.COMBINED)
    rows = read_rows(tmp_path / "rows.parquet")
    assert rows.anchor.tolist() == [0, 1]
    assert rows.instances == 2


def test_a_batch_larger_than_the_rows_is_refused(store):
    with pytest.raises(SeppError, match=r"pretrain\.batch_size 49 is above the 48 training rows"):
        pairs(store, size=49)


def test_streamed_batches_carry_seeded_crops(project, monkeypatch):
    write_folder_data(project)
    monkeypatch.setenv("SEPP_DATA_ROOT", str(project / "raw"))
    monkeypatch.setenv("SEPP_WORKERS", "2")
    store = ImageStore(Path("data/manifest.parquet"), Path("data/images.npy"))
    batches = pairs(store)
    assert batches.streamed
    (direct,) = batches[(0, 1)]["crops"]
    assert direct.shape == (16, 3, 8, 8)
    assert direct.dtype == torch.uint8
    loader = batches.loader()
    loaded = list(loader)[1]
    assert torch.equal(loaded["crops"][0], direct)  # by a worker process, to the same bits
    assert not torch.equal(batches[(1, 1)]["crops"][0], direct)


def test_streamed_extra_views_are_of_anchor_and_positive_in_turn(project, monkeypatch):
    """Of images that are one colour each, so that any crop tells which image it is of."""
    write_folder_data(project)
    for i in range(48):
        Image.new("RGB", (8, 8), (5 * i, 0, 0)).save(project / f"raw/{i}.png")
    monkeypatch.setenv("SEPP_DATA_ROOT", str(project / "raw"))
    store = ImageStore(Path("data/manifest.parquet"), Path("data/images.npy"))
    rows = Rows(np.arange(16), np.arange(16) + 16, np.ones(16, np.float32), 0)
    views = load_all(Path("params.yaml")).views
    small = views.model_copy(update={"image_size": 6, "crop_area": (0.3, 0.5)})
    batch = PairBatches(rows, store, [views] * 2 + [small] * 3, 16, 0, "pretrain")[(0, 0)]
    two, extra = batch["crops"]
    assert extra.shape == (48, 3, 6, 6)
    sources = torch.cat([batch["anchor"], batch["positive"], batch["anchor"]])
    assert torch.equal(extra[:, 0, 3, 3], (5 * sources).to(torch.uint8))
    assert torch.equal(two[:, 0, 3, 3], (5 * sources[:32]).to(torch.uint8))


def test_streamed_views_are_cropped_each_by_its_own_area(project, monkeypatch):
    """Of an image that rises by 30 from column to column, the range tells a crop's width."""
    write_folder_data(project)
    ramp = np.repeat(np.arange(8, dtype=np.uint8)[None, :, None] * 30, 8, axis=0)
    for i in range(48):
        Image.fromarray(np.repeat(ramp, 3, axis=2)).save(project / f"raw/{i}.png")
    monkeypatch.setenv("SEPP_DATA_ROOT", str(project / "raw"))
    store = ImageStore(Path("data/manifest.parquet"), Path("data/images.npy"))
    whole = load_all(Path("params.yaml")).views.model_copy(
        update={"crop_area": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}
    )
    quarter = whole.model_copy(update={"crop_area": (0.25, 0.25)})
    rows = instance_rows(store.select("train"))
    batch = PairBatches(rows, store, [whole, quarter, quarter, whole], 16, 0, "pretrain")[(0, 0)]
    ranges = [(x.amax((1, 2, 3)) - x.amin((1, 2, 3))).tolist() for x in batch["crops"]]
    assert ranges == [[210] * 16, [90] * 32, [210] * 16]


def test_step_seeds_differ():
    seeds = {
        step_seed(s, e, t, p) for s in range(3) for e in range(4) for t in range(5) for p in (0, 1)
    }
    assert len(seeds) == 120
    assert all(0 <= seed < 2**63 for seed in seeds)
