"""The mine stage on small Parquet files, and as a command."""

import dataclasses
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from stages import mine
from stages.common import artifacts
from stages.common.errors import ArtifactError, EmbeddingError, ParamError, SeppError
from stages.common.judged import Answer, write_answers
from stages.common.sepp_sections import SeppMining
from stages.common.unit import unit_rows
from stages.mining import Pairs, cosine, files, find_pairs, pair_blocks, search
from tests.made import packed_store, write_embeddings, write_manifest

IMAGES, DIM = 60, 8
MINING = {  # what the paper does
    "transform": "none", "shrinkage": 0.0, "neighbours": 0, "pairs_per_image": None,
    "engine": "auto", "memory": 1.0, "max_per_anchor": None, "max_pairs": None,
}  # fmt: skip
SCORE = {"transform": "none", "shrinkage": 0.0, "neighbours": 0}
SCORE |= {"layer": "projection", "views": 0, "encoder": "5e"}


def params(lo: float = 0.9, hi: float = 0.999, seed: int = 0, **caps: int) -> mine.Params:
    leaves = {**MINING, **caps}
    return mine.Params(seed=seed, sepp=SeppMining(min=lo, max=hi, **leaves))


@dataclasses.dataclass
class Case:
    folder: Path
    ids: np.ndarray  # (K,) of every other image
    x: np.ndarray  # (K, D)
    labels: np.ndarray  # of all images

    @property
    def inputs(self) -> mine.Inputs:
        names = "manifest.parquet", "embeddings.parquet", "images.npy", "pair_labels.csv"
        return mine.Inputs(*(self.folder / name for name in names))

    @property
    def outputs(self) -> mine.Outputs:
        names = "pairs.parquet", "mine.json"
        return mine.Outputs(*(self.folder / "out" / name for name in names))

    def write(self) -> None:
        write_manifest(self.inputs.manifest, self.labels)
        write_embeddings(self.inputs.embeddings, self.ids, self.x)

    def run(self, *args: float, **kwargs: float) -> tuple[pa.Table, dict]:
        mine.run(params(*args, **kwargs), self.inputs, self.outputs)
        pairs = artifacts.read_parquet(self.outputs.pairs, artifacts.PAIRS, "mine")
        metrics = artifacts.read_json(self.outputs.metrics, "mine")
        return pairs, metrics


@pytest.fixture
def case(tmp_path) -> Case:
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=IMAGES)
    x = rng.standard_normal((4, DIM))[labels] + 0.3 * rng.standard_normal((IMAGES, DIM))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    case = Case(tmp_path, np.arange(1, IMAGES, 2), x[1::2].astype("f4"), labels.astype("i4"))
    case.write()
    return case


def test_end_to_end(case):
    table, metrics = case.run()
    expected = find_pairs(case.x, 0.9, 0.999)
    np.testing.assert_array_equal(table["anchor"], case.ids[expected.anchor])
    np.testing.assert_array_equal(table["positive"], case.ids[expected.positive])
    np.testing.assert_array_equal(table["similarity"], expected.similarity)
    about = {"min": 0.9, "max": 0.999, "pairs_per_image": None, **SCORE}
    assert artifacts.metadata(table) == about
    anchor, positive = case.labels[table["anchor"]], case.labels[table["positive"]]
    assert metrics["count"] == len(table) > 10
    assert metrics["accuracy"] == pytest.approx((anchor == positive).mean(), abs=1e-6)
    assert metrics["images"] == IMAGES / 2
    assert metrics["accuracy_low"] < metrics["accuracy"] <= metrics["accuracy_high"]
    shares = np.bincount(case.labels[case.ids]) / len(case.ids)
    assert metrics["chance"] == pytest.approx((shares**2).sum(), abs=1e-6)
    assert metrics["judged"] == metrics["count"]


def test_pairs_no_better_than_chance_are_warned_of(case, caplog):
    case.run()
    assert "better than chance" not in caplog.text
    case.labels[:] = np.random.default_rng(5).permutation(case.labels)
    case.write()
    case.run()
    assert "better than chance: raise sepp.min" in caplog.text


def test_more_pairs_than_images_are_warned_of(case, caplog):
    count = len(case.run()[0])
    assert count > IMAGES
    assert f"takes {1 + count / IMAGES:.3g} times vanilla's steps" in caplog.text
    caplog.clear()
    case.run(max_pairs=IMAGES)
    assert "semantic pairs per training image" not in caplog.text


def test_so_many_pairs_per_image_are_the_most_similar_below_max(case):
    every = find_pairs(case.x, -1, 0.999)
    for per_image in (0.1, 1.0, 4.0):
        count = round(per_image * IMAGES / 2)
        table, metrics = case.run(0.9, 0.999, pairs_per_image=per_image)
        kept = np.sort(np.lexsort((np.arange(len(every.anchor)), -every.similarity))[:count])
        np.testing.assert_array_equal(table["anchor"], case.ids[every.anchor[kept]])
        np.testing.assert_array_equal(table["positive"], case.ids[every.positive[kept]])
        cut = every.similarity[kept].min()
        assert metrics["similarity_min"] == pytest.approx(cut, abs=1e-6)
        about = {"min": pytest.approx(cut, abs=1e-6), "max": 0.999, "pairs_per_image": per_image}
        assert artifacts.metadata(table) == {**about, **SCORE}


def test_far_too_many_pairs_as_alike_as_the_last_are_told_before_they_are_found(case, monkeypatch):
    """Of a collapsed sampler, say."""
    monkeypatch.setattr(search, "MOST", 100)
    case.x[:] = unit_rows(1 + case.x / 1e4)
    case.write()
    message = (
        r"sepp\.pairs_per_image: 0\.1: about \d{3} pairs are so alike, above 100: lower sepp\.max"
    )
    with pytest.raises(ParamError, match=message):
        case.run(0.0, 1.0, pairs_per_image=0.1)
    assert not case.outputs.pairs.exists()


def test_more_pairs_per_image_than_there_are_is_said(case, caplog):
    table, _ = case.run(0.9, 1.0, pairs_per_image=100.0)
    assert len(table) == 30 * 29 / 2
    assert "there are only 435 pairs" in caplog.text


@pytest.mark.parametrize("changes", [{"transform": "whiten", "shrinkage": 0.1}, {"neighbours": 5}])
def test_another_score_finds_other_pairs_of_the_same_embeddings(case, changes):
    before = case.inputs.embeddings.read_bytes()
    plain, _ = case.run(pairs_per_image=1.0)
    other, metrics = case.run(0.0, 1.0, pairs_per_image=1.0, **changes)
    assert len(other) == len(plain) == IMAGES / 2
    assert not other.equals(plain)
    assert metrics["accuracy"] > 0.9
    assert case.inputs.embeddings.read_bytes() == before
    again, _ = case.run(artifacts.metadata(other)["min"], 1.0, **changes)  # as an interval
    assert again.equals(other)


def test_a_walk_without_pairs_says_what_there_is(case):
    with pytest.raises(
        SeppError, match=r"no pair of 30 images .* the highest below have about 0\.\d+"
    ):
        case.run(0.999999, 1.0, neighbours=3)


def test_walks_that_do_not_fit_are_told_before_the_search(case, monkeypatch):
    monkeypatch.setattr(search, "memory_needed", lambda rows, k: rows * k * 2**20)
    wanted = r"params.yaml: sepp.neighbours: 20: walks over 30 images take 1.17 GiB, above "
    with pytest.raises(ParamError, match=wanted + r"sepp.memory 1: .* or embed.k$"):
        case.run(0.0, 1.0, neighbours=20)
    case.run(0.0, 1.0, neighbours=17)


def test_recall_of_an_approximate_engine(case):
    assert case.run(engine="ivf")[1]["recall"]["rows"] == IMAGES / 2
    assert "recall" not in case.run(engine="pruned")[1]


def test_an_interrupted_run_leaves_what_was_there(case, monkeypatch):
    """Ctrl-C while pairs are being written."""
    case.run()
    before = {f: f.read_bytes() for f in case.outputs.pairs.parent.rglob("*") if f.is_file()}

    def interrupted(*args):
        yield next(pair_blocks(*args))
        raise KeyboardInterrupt

    monkeypatch.setattr(cosine, "pair_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        case.run(lo=0.8)
    after = {f: f.read_bytes() for f in case.outputs.pairs.parent.rglob("*") if f.is_file()}
    assert after == before


def test_what_a_killed_run_left_is_cleared(case):
    left = case.outputs.pairs.parent / ".mine" / "rows.npy"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    case.run()
    assert not left.parent.exists()


def test_one_at_a_time(case):
    case.run()
    lock = FileLock(f"{case.outputs.pairs.parent / '.mine'}.lock")
    with lock, pytest.raises(SeppError, match="another mine runs here"):
        case.run()


def test_the_file_does_not_depend_on_the_engine(case, monkeypatch):
    """Row groups too, however an engine cuts its blocks."""
    monkeypatch.setattr(files, "ROW_GROUP", 7)
    monkeypatch.setattr("stages.mining.engines.faiss.HIGH", 3)
    written = []
    for engine in ("faiss", "pruned"):
        case.run(engine=engine)
        written.append(case.outputs.pairs.read_bytes())
    assert written[0] == written[1]
    groups = pq.ParquetFile(case.outputs.pairs).metadata
    sizes = [groups.row_group(k).num_rows for k in range(groups.num_row_groups)]
    assert len(sizes) > 2
    assert set(sizes[:-1]) == {7}


def test_far_too_many_pairs_are_told_before_they_are_found(case, monkeypatch):
    monkeypatch.setattr(mine, "MOST", 100)
    message = (
        r"sepp\.min: 0\.0: about \d+ pairs of 30 images lie in \[0\.0, 1\.0\], above 100; raise"
    )
    with pytest.raises(ParamError, match=message):
        case.run(0.0, 1.0)
    assert not case.outputs.pairs.exists()


def test_byte_for_byte(case):
    def read() -> list[bytes]:
        files = (getattr(case.outputs, f.name) for f in dataclasses.fields(mine.Outputs))
        return [file.read_bytes() for file in files]

    case.run(max_per_anchor=2, max_pairs=9)
    first = read()
    write_embeddings(case.inputs.embeddings, case.ids, case.x, group=7)  # as a stream would
    case.run(max_per_anchor=2, max_pairs=9)
    assert read() == first
    case.run(max_per_anchor=2, max_pairs=9, seed=1)
    assert read()[0] != first[0]


@pytest.mark.parametrize("limit", [1, 2])
def test_caps(case, limit, caplog):
    with caplog.at_level(logging.INFO):
        table, metrics = case.run(max_per_anchor=limit, max_pairs=5)
    ends = np.concatenate([table["anchor"], table["positive"]])
    assert np.unique(ends, return_counts=True)[1].max() <= limit
    assert metrics["count"] == len(table) == 5
    assert [text.split()[0] for text in caplog.messages[1:3]] == [
        "sepp.max_per_anchor",
        "sepp.max_pairs",
    ]


def test_no_labels(case):
    case.labels[:] = -1
    case.write()
    _, metrics = case.run()
    assert metrics["accuracy"] is None
    assert "no labels" in metrics["note"]


def test_people_s_answers_are_the_accuracy_where_there_are_no_labels(case):
    case.labels[:] = -1
    case.write()
    pixels = np.random.default_rng(0).integers(256, size=(IMAGES, 4, 4, 3), dtype=np.uint8)
    store = packed_store(case.folder, pixels)
    pairs, _ = case.run()
    ends = list(zip(pairs["anchor"].to_pylist(), pairs["positive"].to_pylist(), strict=True))
    # The least similar one first, so that all pairs are as similar as one that was judged.
    rows = sorted(pairs.to_pylist(), key=lambda row: row["similarity"])
    answers = [
        Answer(i, j, store.key(i), store.key(j), similarity, said, "", "f")
        for (i, j, similarity), said in zip(
            (row.values() for row in rows), ["yes", "no", "yes", "unsure", "yes"], strict=False
        )
    ]
    apart = next(j for j in case.ids.tolist()[::-1] if (answers[0].anchor_id, j) not in ends)
    answers.append(answers[0]._replace(positive_id=apart, positive=store.key(apart), answer="no"))
    write_answers(case.inputs.answers, answers)
    _, metrics = case.run()
    assert (metrics["accuracy"], metrics["judged"]) == (0.75, 4)  # one stratum: fewer than five
    assert metrics["accuracy_low"] < 0.5
    assert metrics["chance"] is None
    assert "estimated from 4 of the pairs, which people have judged" in metrics["note"]
    write_answers(case.inputs.answers, [answers[-1]])
    assert "none of the pairs was judged" in case.run()[1]["note"]
    # Under another score that pair was another sample's.
    write_answers(case.inputs.answers, [one._replace(similarity=0.5) for one in answers])
    assert "4 others were judged under another score" in case.run()[1]["note"]
    # What only very similar pairs tell is not the accuracy of all.
    top = rows[-1]
    ends = top["anchor"], top["positive"]
    keys = (store.key(one) for one in ends)
    write_answers(case.inputs.answers, [Answer(*ends, *keys, top["similarity"], "yes", "", "f")])
    _, metrics = case.run()
    assert metrics["accuracy"] is None
    assert "pairs are less similar than all that people have judged" in metrics["note"]


def test_labels_are_taken_before_answers(case):
    write_answers(case.inputs.answers, [Answer(1, 3, "a", "b", 0.9, "no", "", "")])
    _, metrics = case.run()
    assert metrics["judged"] == metrics["count"]


def test_no_pair_says_what_would_give_some(case):
    top = find_pairs(case.x, -1, 1).similarity.max()
    assert top < 0.9999
    with pytest.raises(SeppError) as caught:
        case.run(0.9999, 1.0)
    text = str(caught.value)
    assert "no pair of 30 images has a similarity in [0.9999, 1.0];" in text
    assert f"the highest below have about {top:.2f}" in text
    lo, count = re.search(r"sepp\.min=(\S+) would give about (\d+) pair", text).groups()
    lo, count = float(lo), int(count)
    assert count == len(find_pairs(case.x, lo, 1).anchor) >= 30
    assert "\n" not in text
    assert not case.outputs.pairs.exists()


def test_one_image(case):
    write_embeddings(case.inputs.embeddings, case.ids[:1], case.x[:1])
    with pytest.raises(SeppError, match=r"1 embedded image, and a pair needs two: raise embed\.k"):
        case.run()


def test_no_images(case):
    write_embeddings(case.inputs.embeddings, case.ids[:0], case.x[:0])
    with pytest.raises(SeppError, match="0 embedded images"):
        case.run()


def test_nan_names_the_image_and_the_file(case):
    case.x[3] = np.nan
    case.write()
    with pytest.raises(EmbeddingError, match=r"embeddings\.parquet: image 7: NaN"):
        case.run()


def test_unfit_inputs(case):
    write_embeddings(case.inputs.embeddings, case.ids[::-1], case.x)
    with pytest.raises(ArtifactError, match="ascending ids; run `dvc repro embed`"):
        case.run()
    write_embeddings(case.inputs.embeddings, case.ids + IMAGES, case.x)
    with pytest.raises(ArtifactError, match=r"not in .*manifest"):
        case.run()
    pq.write_table(pa.table({"id": [1], "embedding": [[1.0]]}), case.inputs.embeddings)
    with pytest.raises(ArtifactError, match="other columns"):
        case.run()
    case.inputs.embeddings.unlink()
    with pytest.raises(ArtifactError, match="is missing; run `dvc repro embed`"):
        case.run()


@pytest.mark.parametrize("stage", ["mine", "combine"])
def test_starts_without_torch_and_faiss(stage):
    code = f"import sys, stages.{stage}; print({{'torch', 'faiss', 'pandas'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_runs_without_torch(case):
    """FAISS and all else that a run loads, too."""
    code = f"""
import sys
from pathlib import Path
from stages import mine
from stages.common.sepp_sections import SeppMining
sepp = SeppMining(**{params(0.9, 1.0, max_per_anchor=1, max_pairs=9).sepp.model_dump()!r})
folder = Path({json.dumps(str(case.folder))})
inputs = mine.Inputs(folder / "manifest.parquet", folder / "embeddings.parquet")
outputs = mine.Outputs(folder / "a", folder / "b")
mine.run(mine.Params(seed=0, sepp=sepp), inputs, outputs)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pairs_are_read_a_part_at_a_time(tmp_path, monkeypatch):
    """However large the file, only a part of it is in memory."""
    monkeypatch.setattr(files, "ROW_GROUP", 10_000)
    rng = np.random.default_rng(0)
    i, j = np.triu_indices(700, 1)
    pairs = Pairs(i, j, rng.random(len(i), np.float32))
    ids = np.arange(700)
    files.write_pairs(tmp_path / "pairs.parquet", iter([pairs]), ids, {})
    before, most, count = pa.total_allocated_bytes(), 0, 0
    for block in files.read_pairs(tmp_path / "pairs.parquet", ids):
        most = max(most, pa.total_allocated_bytes() - before)
        count += len(block.anchor)
    assert count == len(i)
    assert most < sum(column.nbytes for column in pairs) / 4
