"""Linear evaluation: both protocols learn what is there, and leave the backbone alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

import stages.linear_eval as stage
from stages.common import artifacts
from stages.common.errors import SeppError
from stages.common.images import ImageStore
from stages.common.params import load_all
from stages.common.state import TrainingState
from stages.evaluation._crops import LabelledCrops
from stages.evaluation._linear import FeatureBatches, top_k
from stages.evaluation._steps import capped
from stages.ssl.encoder import weights_digest
from tests.conftest import TINY, write_params

MANIFEST, IMAGES = Path("data/manifest.parquet"), Path("data/images.npy")


def evaluate(project, **changes) -> dict:
    params = write_params(project / "params.yaml", {**TINY, **changes})
    inputs, outputs = stage.Inputs.of("vanilla", 0), stage.Outputs.of("vanilla", 0)
    with TrainingState("linear_eval", lambda: "fixed") as state:
        stage.run(stage.Params.load(params), inputs, outputs, "vanilla", 0, state)
    return artifacts.read_json(outputs.metrics, "linear_eval")


@pytest.mark.parametrize("protocol", ["cached", "moco"])
def test_the_classes_of_a_random_encoder_are_told_apart(project, encoder, protocol):
    changes = {"linear_eval.protocol": protocol, "linear_eval.epochs": 20, "linear_eval.lr": 1.0}
    changes["linear_eval.milestones"] = [12, 16]
    result = evaluate(project, **changes)
    assert result["linear_top1"] > 90
    assert result["knn_top1"] > 60
    assert "linear_top5" not in result  # there are three classes
    assert (result["epochs"], result["rows"], result["steps"]) == (3, 48, 9)
    again = evaluate(project, **changes)
    assert again == result


def test_a_classifier_that_did_not_learn_is_told(project, encoder, caplog):
    result = evaluate(project, **{"linear_eval.lr": 1e6})
    assert result["linear_loss"] > np.log(3)
    assert "above chance (1.10)" in caplog.text
    assert "lower linear_eval.lr (1e+06)" in caplog.text


def test_the_backbone_does_not_move(project, encoder):
    before = weights_digest(encoder)
    settings = load_all(project / "params.yaml").linear_eval
    store = ImageStore(MANIFEST, IMAGES)
    for protocol in ("cached", "moco"):
        with TrainingState("linear_eval", lambda p=protocol: p) as state:
            changed = settings.model_copy(update={"protocol": protocol})
            stage.evaluate(encoder, store, changed, 0, state)
    assert weights_digest(encoder) == before


def test_a_backbone_that_moves_is_found_out(project, encoder, monkeypatch):
    def meddle(encoder, *args):
        encoder.backbone.conv1.weight.data += 1e-3
        return nn.Linear(512, 3), 0.0

    monkeypatch.setattr(stage, "train_probe", meddle)
    settings = load_all(project / "params.yaml").linear_eval
    store = ImageStore(MANIFEST, IMAGES)
    with TrainingState("linear_eval", lambda: "x") as state, pytest.raises(AssertionError):
        stage.evaluate(encoder, store, settings, 0, state)


def test_top_k_against_sorting():
    torch.manual_seed(0)
    layer, x, y = nn.Linear(4, 7), torch.randn(50, 4), torch.randint(0, 7, (50,))
    ranks = np.argsort(-layer(x).detach().numpy(), axis=1)
    for k in (1, 5):
        expected = 100 * np.mean(
            [label in row[:k] for row, label in zip(ranks, y.tolist(), strict=True)]
        )
        assert top_k(layer, x, y, k) == pytest.approx(expected)


def test_a_small_set_is_shared_by_all_processes(encoder, monkeypatch):
    store, ids = ImageStore(MANIFEST, IMAGES), np.arange(11)
    x, y = torch.rand(11, 4), torch.zeros(11, dtype=torch.int64)

    def sizes(batch_size: int) -> list[int]:
        both = (
            FeatureBatches(x, y, batch_size, 0),
            LabelledCrops(encoder, store, ids, batch_size, 0, "test").batches,
        )
        assert [len(one) for one in both] == [11 // one.batch_size for one in both]
        return [one.batch_size for one in both]

    assert sizes(16) == [11, 11]
    monkeypatch.setenv("SEPP_DEVICES", "2")
    assert sizes(16) == [10, 10]
    assert sizes(8) == [8, 8]
    monkeypatch.setenv("SEPP_NODES", "2")
    assert sizes(16) == [8, 8]
    monkeypatch.setenv("SEPP_DEVICES", "6")
    with pytest.raises(SeppError) as error:
        capped(16, 11)
    assert str(error.value) == (
        "environment: SEPP_DEVICES=6, SEPP_NODES=2: 12 processes cannot share 11 training images: "
        "lower them"
    )


def relabel(table: pa.Table, rows: Iterable[int], label: int) -> pa.Table:
    labels = table["label"].to_numpy().copy()
    labels[list(rows)] = label
    return table.set_column(table.schema.get_field_index("label"), "label", [labels])


@pytest.mark.parametrize("protocol", ["cached", "moco"])
def test_images_without_a_label_are_left_out_and_counted(project, encoder, protocol, caplog):
    """The result is that of a data set which never had them."""
    changes = {"linear_eval.protocol": protocol}
    table = artifacts.read_parquet(MANIFEST, artifacts.MANIFEST, "prepare")
    part = relabel(relabel(table, range(30, 48), -1), range(60, 72), -1)
    artifacts.write_parquet(MANIFEST, part, artifacts.MANIFEST, {"classes": None})
    caplog.set_level("INFO")
    found = evaluate(project, **changes)
    counts = ("train_images", "test_images", "train_unlabelled", "test_unlabelled")
    assert [found[key] for key in counts] == [30, 12, 18, 12]
    assert "by the 30 train images that have a label; 18 have none" in caplog.text
    assert "by the 12 test images that have a label; 12 have none" in caplog.text
    splits = np.where(part["label"].to_numpy() < 0, "other", part["split"].to_pylist())
    without = part.set_column(part.schema.get_field_index("split"), "split", [splits])
    artifacts.write_parquet(MANIFEST, without, artifacts.MANIFEST, {"classes": None})
    expected = evaluate(project, **changes)
    assert [expected[key] for key in counts] == [30, 12, 0, 0]
    for key in ("linear_top1", "linear_loss", "knn_top1"):
        assert found[key] == expected[key]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: relabel(t, range(72), -1), "no training image has a label"),
        (lambda t: relabel(t, range(48, 72), -1), "no test image has a label"),
        (
            lambda t: relabel(t, range(48), 0),
            r"labels of the training images (48) are all of one class",
        ),
        (lambda t: relabel(t, range(1, 48), -1), "(1) are all of one class"),
        (lambda t: t.slice(0, 48), "no test split"),
    ],
)
def test_without_labels_or_test_images_it_says_why(project, encoder, change, reason):
    table = artifacts.read_parquet(MANIFEST, artifacts.MANIFEST, "prepare")
    changed = change(table).cast(artifacts.MANIFEST)
    artifacts.write_parquet(MANIFEST, changed, artifacts.MANIFEST, {"classes": None})
    result = evaluate(project)
    assert reason in result["skipped"]
    assert "linear_top1" not in result
