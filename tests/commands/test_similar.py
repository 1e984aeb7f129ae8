"""`sepp similar`: the nearest images, as a table and a page."""

from __future__ import annotations

import base64
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.retrieval.photos import write_encoder, write_parquet, write_photos
from tests.test_cli import refused, sepp
from tests.test_report import Page

NAMES = [f"{folder}/{place}.png" for folder in ("cats", "dogs <b>") for place in range(6)]


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    write_photos(Path("photos"), NAMES)
    return write_encoder(Path("models/sepp-0"))


def run(*arguments: str) -> list[tuple[str, str]]:
    """(path, similarity) in the table's order."""
    result = sepp("similar", "models/sepp-0", *arguments)
    assert result.exit_code == 0, result.output
    rows = re.findall(r"(?m)^ *\d+ +(-?\d\.\d{4}) .*?((?:photos|data)/.*?) *$", result.output)
    return [(path, similarity) for similarity, path in rows]


def expected(encoder, query: str, layer: str = "backbone") -> list[tuple[str, str]]:
    paths = [f"photos/{name}" for name in NAMES if f"photos/{name}" != query]
    x = encoder.embed([query, *paths], layer).numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = x[1:] @ x[0]
    return [(paths[row], f"{cosines[row]:.4f}") for row in np.argsort(-cosines)]


@pytest.mark.parametrize("layer", ["backbone", "projection"])
def test_the_nearest_first_and_not_the_query_itself(encoder, layer):
    query = "photos/cats/2.png"
    found = run("photos", query, "-n", "4", "--layer", layer)
    assert found == expected(encoder, query, layer)[:4]
    assert run("photos", "cats/2.png", "-n", "4", "--layer", layer) == found


def test_another_image_is_looked_for_among_all(encoder):
    write_photos(Path(), ["query.png"])  # the same as the first, but another file
    found = run("photos", "query.png", "-n", "1")
    assert found == [("photos/cats/0.png", "1.0000")]


def test_the_page_is_whole(encoder):
    run("photos", "photos/dogs <b>/2.png", "-n", "3", "-o", "made/page.html")
    html = Path("made/page.html").read_text()
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"<script|https?://|@import|url\(", html)
    assert "dogs <b>" in page.text
    pictures = re.findall(r'<img src="data:image/(\w+);base64,([^"]+)" [^>]*alt="[^"]+"', html)
    assert len(pictures) == 4
    assert all(base64.b64decode(content) for _, content in pictures)
    before = html
    run("photos", "photos/dogs <b>/2.png", "-n", "3", "-o", "made/page.html")
    assert Path("made/page.html").read_text() == before


def test_features_made_before_serve_alone(encoder):
    for layer in ("backbone", "projection"):
        result = sepp("features", "models/sepp-0", "photos", f"{layer}.parquet", "--layer", layer)
        assert result.exit_code == 0, result.output
        query = "photos/cats/2.png"
        found = run(f"{layer}.parquet", query, "-n", "4")
        assert found == expected(encoder, query, layer)[:4]
    shutil.copy("photos/cats/2.png", "query.png")
    shutil.rmtree("photos")
    assert len(run("backbone.parquet", "query.png", "-n", "4")) == 4
    assert Path("reports/similar.html").read_text().count("not found") == 4


def test_a_row_of_a_parquet_file_is_a_query_too(encoder):
    write_parquet(Path("data/train.parquet"), pa.array([0, 1, 1, 0, 1]))
    found = run("data", "data/train.parquet#3", "-n", "9")
    assert len(found) == 4
    assert "data/train.parquet#3" not in [path for path, _ in found]


def of_another_encoder():
    write_encoder(Path("models/other"), seed=1)
    assert sepp("features", "models/other", "photos", "f.parquet").exit_code == 0


def of_the_backbone():
    assert sepp("features", "models/sepp-0", "photos", "f.parquet").exit_code == 0


def broken():
    Path("photos/cats/0.png").write_text("words")


@pytest.mark.parametrize(
    ("prepare", "arguments", "said"),
    [
        (lambda: None, ("photos", "none.png"), "none.png: no such image file, nor one within"),
        (lambda: None, ("photos", "models/sepp-0/config.json"), "config.json: image does not"),
        (lambda: None, ("none", "photos/cats/0.png"), "none: no such folder or file"),
        (of_another_encoder, ("f.parquet", "photos/cats/0.png"), "features of another encoder"),
        (
            of_the_backbone,
            ("f.parquet", "photos/cats/0.png", "--layer", "projection"),
            "features of the backbone, not of the projection",
        ),
        (broken, ("photos", "photos/cats/1.png"), "photos/cats/0.png: image does not decode"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(encoder, prepare, arguments, said):
    prepare()
    assert said in refused(sepp("similar", "models/sepp-0", *arguments))
    assert not Path("reports").exists()
