import numpy as np
import pytest
from click.testing import CliRunner

from stages import explore
from stages.commands import thresholds
from stages.common.explored import read_explored
from stages.common.judged import LABELS, Answer, write_answers
from stages.common.sepp_sections import SeppScore
from stages.mining import find_pairs
from tests.conftest import write_params
from tests.made import packed_store, write_embeddings, write_manifest

ROWS = 80


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(4, size=ROWS).astype(np.int32)


@pytest.fixture
def x(labels, tmp_path, monkeypatch) -> np.ndarray:
    """Rows near the centres of their classes, explored, in the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 6))[labels] + 0.6 * rng.standard_normal((ROWS, 6))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    pixels = rng.integers(256, size=(ROWS, 4, 4, 3), dtype=np.uint8)
    packed_store(tmp_path / "data", pixels)
    write_embeddings(explore.Inputs.embeddings, np.arange(ROWS), x)
    write_params(tmp_path / "params.yaml", {"sepp.min": 0.9, "sepp.max": 1.0})
    prepare(labels)
    return x


def prepare(labels: np.ndarray) -> None:
    write_manifest(explore.Inputs.manifest, labels)
    sepp = SeppScore(transform="none", shrinkage=0.03, neighbours=0, memory=1.0)
    explore.run(explore.Params(seed=0, sepp=sepp), explore.Inputs(), explore.Outputs())


def run(*args: str, code: int = 0) -> str:
    done = CliRunner().invoke(thresholds.main, args)
    assert done.exit_code == code, done.output
    return done.output


def test_the_lowest_threshold_that_is_accurate_enough(x, labels):
    said = run("--accuracy", "0.6")
    low = float(said.split("sepp.min=")[1])
    explored = read_explored(explore.Outputs.explored)
    first, last = explored.bins(low, 1.0)
    assert explored.accuracy(first, last)[1] >= 0.6
    assert all(explored.accuracy(lower, last)[1] < 0.6 for lower in range(first))
    pairs = find_pairs(x, low, 1.0)
    share = (labels[pairs.anchor] == labels[pairs.positive]).mean()
    assert explored.accuracy(first, last)[0] == pytest.approx(share)
    assert f"{len(pairs.anchor):,}" in said
    assert "By labels, up to sepp.max 1" in said
    assert max(map(len, said.splitlines())) <= 80


def test_none_is_accurate_enough(x):
    said = run("--accuracy", "1.0", code=1)
    assert "no sepp.min gives pairs of which 100% are right with 95 % confidence" in said
    assert "the best is 0." in said
    assert len(said.strip().splitlines()) == 1


def test_without_labels_by_judged_pairs(x, labels):
    prepare(np.full(ROWS, -1, np.int32))
    assert "has no answers" in run(code=1)
    explored = read_explored(explore.Outputs.explored)
    store = packed_store(explore.Inputs.manifest.parent, np.load("data/images.npy"))
    rows, put = explored.shown.to_pylist(), explored.about["fingerprint"]
    asked = sorted((row for row in rows if row["turn"] >= 0), key=lambda row: row["turn"])[:40]
    answers = [
        Answer(i, j, store.key(i), store.key(j), row["similarity"], said, "", put)
        for row in asked
        for i, j in [(row["anchor"], row["positive"])]
        for said in ["yes" if labels[i] == labels[j] else "no"]
    ]
    write_answers(LABELS, [answer._replace(explored="another") for answer in answers])
    assert "has no answers on the pairs" in run(code=1)
    write_answers(LABELS, answers)
    said = run("--accuracy", "0.5")
    assert "By 40 answers" in said
    low = float(said.split("sepp.min=")[1])
    pairs = find_pairs(x, low, 1.0)
    assert (labels[pairs.anchor] == labels[pairs.positive]).mean() > 0.5


def test_another_score_is_to_be_explored_first(x, tmp_path):
    write_params(tmp_path / "params.yaml", {"sepp.transform": "center"})
    said = run(code=1)
    assert "is of sepp.transform none, which is center now: run `dvc repro explore`" in said


def test_before_anything_was_explored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml", {})
    assert "is missing; run `dvc repro explore`" in run(code=1)
