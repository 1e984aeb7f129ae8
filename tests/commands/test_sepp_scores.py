"""`sepp scores` on a small data set, and beside what the stages find with the same score."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner, Result

from stages import cli, embed, mine
from stages.common import artifacts, scores
from stages.common.images import ImageStore
from stages.common.judged import LABELS, Answer, write_answers
from stages.ssl.encoder import Encoder, EncoderConfig, weights_digest
from stages.ssl.heads import mlp
from tests.conftest import TINY, write_params

FIRST = "layer,transform,views,selection,pairs_per_image,accuracy,images_covered,similarity"
CHANGES = {**TINY, "embed.k": 1.0, "sepp.max": 0.98}  # a max, which scores do without


def sepp(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def save_encoder(head: bool = True) -> Encoder:
    torch.manual_seed(0)
    projection = mlp(512, 16, 4, norm=None) if head else None
    encoder = Encoder(EncoderConfig("resnet10", "cifar", 8, (0.3,) * 3, (0.3,) * 3, projection))
    encoder.save(embed.Inputs.encoder)
    return encoder


@pytest.fixture
def sampler(project) -> Encoder:
    write_params(project / "params.yaml", CHANGES)
    return save_encoder()


def table() -> list[dict[str, str]]:
    with scores.TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def without_labels() -> None:
    path = embed.Inputs.manifest
    manifest = artifacts.read_parquet(path, artifacts.MANIFEST, "prepare")
    none = pa.array(np.full(len(manifest), -1, np.int32))
    about = artifacts.metadata(manifest)
    manifest = manifest.set_column(2, "label", none)
    artifacts.write_parquet(path, manifest, artifacts.MANIFEST, about)


def test_every_score_at_every_number_of_pairs(sampler):
    result = sepp("scores", "--views", "2,0")
    assert result.exit_code == 0, result.output
    assert scores.TABLE.read_text().startswith(f"{FIRST},")
    rows = table()
    keys = {tuple(row.values())[:5] for row in rows}
    assert keys == {
        (layer, transform, views, selection, per_image)
        for layer in ("projection", "backbone")
        for transform in ("none", "center", "whiten")
        for views in ("0", "2")
        for selection in ("highest", "walks")
        for per_image in ("0.25", "0.5", "1.0", "2.0", "4.0")
    }
    assert len(rows) == len(keys)
    assert tuple(rows[0].values())[:4] == ("projection", "none", "0", "highest")
    assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)
    about = json.loads(scores.ABOUT.read_text())
    assert about["encoder"] == weights_digest(sampler)
    assert (about["k"], about["data"], about["neighbours"]) == (48, "made", 10)
    assert not Path("data/.scores").exists()


@pytest.mark.parametrize(
    ("layer", "transform", "views", "neighbours", "per_image"),
    [
        ("projection", "none", 0, 0, 0.25),
        ("projection", "whiten", 2, 0, 4.0),
        ("backbone", "center", 3, 0, 1.0),
        ("backbone", "whiten", 3, 10, 2.0),
    ],
)
def test_a_row_is_what_the_stages_find(
    project, sampler, layer, transform, views, neighbours, per_image
):
    assert sepp("scores", "--views", "2,3").exit_code == 0
    changes = {
        "embed.layer": layer, "embed.views": views, "sepp.transform": transform,
        "sepp.neighbours": neighbours, "sepp.pairs_per_image": per_image, "sepp.max": 1.0,
    }  # fmt: skip
    params = write_params(project / "params.yaml", {**CHANGES, **changes})
    embed.run(embed.Params.load(params), embed.Inputs(), embed.Outputs())
    mine.run(mine.Params.load(params), mine.Inputs(), mine.Outputs())
    mined = artifacts.read_json(mine.Outputs.metrics, "mine")
    score = scores.Score(layer, transform, views, "walks" if neighbours else "highest")
    found = scores.read_scores()
    row = found.table[score][per_image]
    names = ("accuracy", "accuracy_low", "accuracy_high", "similarity_mean", "class_balance")
    assert {name: row[name] for name in names} == {name: mined[name] for name in names}
    assert row["pairs"] == mined["count"]
    assert row["similarity"] == mined["similarity_min"]
    assert row["images_covered"] == round(mined["anchors_covered"] / mined["images"], 6)
    about = artifacts.metadata(artifacts.read_parquet(mine.Outputs.pairs, artifacts.PAIRS, "mine"))
    assert about["encoder"] == found.about["encoder"]
    assert scores.current(about, found.about) == score


def test_the_printed_table_marks_the_papers_score_and_the_present_one(project, sampler):
    write_params(project / "params.yaml", {**CHANGES, "embed.layer": "backbone", "embed.views": 1})
    output = sepp("scores", "--views", "0").output
    (paper,) = [line for line in output.splitlines() if " paper " in line]
    (now,) = [line for line in output.splitlines() if " now " in line]
    assert paper.split()[1:6] == ["paper", "projection", "none", "0", "highest"]
    assert now.split()[1:6] == ["now", "backbone", "none", "1", "highest"]
    assert "33.3 by chance" in output
    assert "Mean cosine of an image and its own random views: " in output
    assert max(len(line.rstrip()) for line in output.splitlines()) <= 100
    ranked = [line.split() for line in output.splitlines() if line[:2].strip().isdigit()]
    places = [row.index("highest" if "highest" in row else "walks") for row in ranked]
    at_one = [float(row[place + 3]) for row, place in zip(ranked, places, strict=True)]
    assert at_one == sorted(at_one, reverse=True)


def test_without_labels(sampler):
    without_labels()
    result = sepp("scores", "--views", "1")
    assert result.exit_code == 0, result.output
    assert {row["accuracy"] for row in table()} == {""}
    assert "48 images without labels, so there is no accuracy" in result.output
    assert "agreement, and no accuracy" in " ".join(result.output.split())
    agreements = [float(row["agreement"]) for row in table()]
    assert agreements[0] == 1
    assert min(agreements) < 1
    own = json.loads(scores.ABOUT.read_text())["own_views"]
    assert set(own) == {"projection", "backbone"}
    assert all(0 < cosine < 1 for cosine in own.values())


def test_without_labels_people_s_answers_tell(sampler):
    store = ImageStore(embed.Inputs.manifest, embed.Inputs.images)
    labels = store.labels.copy()
    without_labels()
    ends = [(i, j) for j in range(48) for i in range(j)][::3]
    said = {True: "no", False: "yes"}  # the contrary, so that no label can have told
    answers = [
        Answer(i, j, store.key(i), store.key(j), 0.9, said[bool(labels[i] == labels[j])], "", "")
        for i, j in ends
    ]
    write_answers(LABELS, answers)
    result = sepp("scores", "--views", "0")
    assert result.exit_code == 0, result.output
    assert f"Right pairs, by {len(ends):,} judged ones, in %" in result.output
    shares = [float(row["accuracy"]) for row in table() if row["pairs_per_image"] == "4.0"]
    assert len(shares) == 12
    assert np.mean(shares) < 0.1  # pairs of equal labels are found


def test_an_encoder_without_a_projection(sampler):
    save_encoder(head=False)
    result = sepp("scores", "--views", "0")
    assert result.exit_code == 0, result.output
    assert {row["layer"] for row in table()} == {"backbone"}
    assert " paper " not in result.output


def test_same_inputs_same_bytes(sampler):
    sepp("scores", "--views", "1")
    first = scores.TABLE.read_bytes(), scores.ABOUT.read_bytes()
    sepp("scores", "--views", "1")
    assert (scores.TABLE.read_bytes(), scores.ABOUT.read_bytes()) == first


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("manifest", "data/manifest.parquet: is missing; run `dvc repro prepare`"),
        ("encoder", "models/sampler: is missing; run `dvc repro sampler`"),
        ("k", "params.yaml: embed.k: 1 image, and a pair needs two"),
    ],
)
def test_what_is_missing_is_one_line(project, sampler, spoil, message):
    if spoil == "k":
        write_params(project / "params.yaml", {**CHANGES, "embed.k": 1})
    else:
        artifacts.remove(getattr(embed.Inputs, spoil))
    result = sepp("scores")
    assert result.exit_code == 1
    assert f"Error: {message}" in result.output.splitlines()[-1]
    assert not scores.TABLE.exists()


@pytest.mark.parametrize("views", ["two", "2,,8", "-1", ""])
def test_views_are_numbers(sampler, views):
    result = sepp("scores", "--views", views)
    assert result.exit_code == 2
    assert "needs numbers of views with commas between" in result.output


def test_a_table_of_another_shape_is_refused(sampler):
    scores.TABLE.parent.mkdir(exist_ok=True)
    scores.TABLE.write_text("layer,transform\nprojection,none\n")
    artifacts.write_json(scores.ABOUT, {"encoder": "5e"})
    with pytest.raises(scores.SeppError, match=r"reports/scores\.csv: is not the table that"):
        scores.read_scores()


@pytest.mark.parametrize("written", [False, True])
def test_a_table_is_not_taken_for_what_another_is_about(project, monkeypatch, written):
    """Killed before the table was written, or between the two files."""
    table = {scores.PAPER: {scores.RANKED: dict.fromkeys(scores.COLUMNS[5:], 0.5)}}
    scores.write_scores(scores.Comparison(table, {"encoder": "5e"}))
    assert scores.read_scores().about == {"encoder": "5e"}
    write = artifacts.write_csv

    def killed(*arguments: object) -> None:
        if written:
            write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts, "write_csv", killed)
    with pytest.raises(KeyboardInterrupt):
        scores.write_scores(scores.Comparison(table, {"encoder": "0f"}))
    with pytest.raises(scores.SeppError, match=r"scores\.json does not say .* was interrupted"):
        scores.read_scores()
