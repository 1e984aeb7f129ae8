"""`sepp features`: the features of any images as a Parquet file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.common import artifacts
from stages.retrieval import features_file
from stages.ssl.encoder import weights_digest
from tests.retrieval.photos import write_encoder, write_parquet, write_photos
from tests.test_cli import refused, sepp

NAMES = ["a.png", "cats/b.png", "cats/c.png", "dogs/d.png"]


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """models/sepp-0, beside a folder `photos`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    write_photos(Path("photos"), NAMES)
    return write_encoder(Path("models/sepp-0"))


def run(*arguments: str) -> str:
    result = sepp("features", "models/sepp-0", *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_row_an_image(encoder):
    run("photos", "made/out.parquet")
    table = pd.read_parquet("made/out.parquet")
    assert list(table.columns) == ["path", "embedding", "label"]
    assert table.path.to_list() == [f"photos/{name}" for name in NAMES]
    assert table.label.isna().to_list() == [True, False, False, False]
    assert table.label.to_list()[1:] == ["cats", "cats", "dogs"]
    assert np.array_equal(np.stack(table.embedding), encoder.embed(table.path).numpy())
    schema = pq.read_schema("made/out.parquet")
    assert schema.field("embedding").type == pa.list_(pa.float32(), 64)
    assert artifacts.metadata(schema) == {
        "encoder": weights_digest(encoder),
        "layer": "backbone",
        "normalized": False,
        "image_size": 8,
    }


def test_another_layer_of_unit_length_from_parquet(encoder):
    write_parquet(Path("data/train.parquet"), pa.array([0, 1, 1, -1]), ["cat", "dog"])
    run("data", "out.parquet", "--layer", "projection", "--normalize")
    table = pd.read_parquet("out.parquet")
    assert table.label.to_list()[:3] == ["cat", "dog", "dog"]
    assert table.label.isna().to_list() == [False, False, False, True]
    assert table.path.to_list() == [f"data/train.parquet#{row}" for row in range(4)]
    found = np.stack(table.embedding)
    expected = encoder.embed([f"photos/{name}" for name in NAMES], "projection").numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_file_is_written_in_pieces_and_always_the_same(encoder, monkeypatch):
    run("photos", "one.parquet")
    monkeypatch.setattr(features_file, "ROW_GROUP", 2)
    monkeypatch.setattr("stages.retrieval.embedding.BATCH", 1)
    monkeypatch.setenv("SEPP_DEVICES", "2")
    run("photos", "two.parquet")
    assert pq.ParquetFile("two.parquet").num_row_groups == 2
    whole, pieces = (pd.read_parquet(name) for name in ("one.parquet", "two.parquet"))
    np.testing.assert_allclose(np.stack(pieces.embedding), np.stack(whole.embedding), atol=1e-6)
    run("photos", "three.parquet")
    assert Path("two.parquet").read_bytes() == Path("three.parquet").read_bytes()


def test_what_is_there_is_kept(encoder):
    Path("out.parquet").write_text("precious")
    arguments = ("features", "models/sepp-0", "photos", "out.parquet")
    assert "out.parquet: is there already; " in refused(sepp(*arguments))
    assert Path("out.parquet").read_text() == "precious"
    run("photos", "out.parquet", "--force")
    assert len(pd.read_parquet("out.parquet")) == 4


def test_a_broken_image_leaves_nothing_half_written(encoder, caplog):
    Path("photos/cats/b.png").write_text("words")
    arguments = ("features", "models/sepp-0", "photos", "out.parquet")
    line = refused(sepp(*arguments))
    assert "photos/cats/b.png: image does not decode" in line
    assert "--skip-broken" in line
    assert not list(Path().glob("*out.parquet*"))
    run("photos", "out.parquet", "--skip-broken")
    assert "left out: 1, photos/cats/b.png" in caplog.text
    assert len(pd.read_parquet("out.parquet")) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("models/none", "photos"), "models/none: holds no encoder"),
        (("models/sepp-0", "none"), "none: no such folder or file"),
        (("models/sepp-0", "models"), "models: holds no image (only 1 .json, 1 .safetensors)"),
    ],
)
def test_mistakes_are_one_line(encoder, arguments, said):
    assert said in refused(sepp("features", *arguments, "out.parquet"))
    assert not Path("out.parquet").exists()


def test_another_format_is_not_promised(encoder):
    said = refused(sepp("features", "models/sepp-0", "photos", "out.csv"))
    assert "out.csv: is written as Parquet: give it a name that ends in .parquet" in said
    assert not Path("out.csv").exists()


def test_an_encoder_without_a_head_says_so(encoder):
    write_encoder(Path("models/plain"), head=False)
    arguments = ("models/plain", "photos", "out.parquet", "--layer", "projection")
    assert "has no projection head" in refused(sepp("features", *arguments))
