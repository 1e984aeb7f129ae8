"""The pairs of every score, and what is measured on them, against brute force."""

from functools import partial

import numpy as np
import pytest

from stages.common.pairs import Pairs, join
from stages.common.scores import PAPER, PER_IMAGE, Score
from stages.common.sepp_sections import SeppMining
from stages.mining.quality import describe
from stages.mining.scores import Settings, measure, pairs_by_score, scores_of
from stages.mining.walk import Walk

IMAGES, DIM, SHRINKAGE = 40, 6, 0.05


def settings(folder, neighbours: int = 0) -> Settings:
    sepp = SeppMining(
        transform="none", shrinkage=SHRINKAGE, neighbours=neighbours, min=0.97, max=0.99,
        pairs_per_image=None, engine="auto", memory=1.0, max_per_anchor=None, max_pairs=None,
    )  # fmt: skip
    return Settings(sepp, 0, folder)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((IMAGES, DIM)) * (5, 2, 1, 1, 1, 1) + (3, *[0] * 5)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def transformed(x: np.ndarray, name: str) -> np.ndarray:
    """By the definition, in float64."""
    x = x.astype(np.float64)
    if name != "none":
        x = x - x.mean(0)
    if name == "whiten":
        _, sigma, axes = np.linalg.svd(x / np.sqrt(len(x)), full_matrices=False)
        x = x @ axes.T / (sigma + SHRINKAGE * sigma[0])
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_every_score_has_its_most_similar_pairs(rows, tmp_path):
    embeddings = {("projection", 0): rows, ("backbone", 2): rows[:, ::-1].copy()}
    before = rows.copy()
    found = dict(pairs_by_score(embeddings, np.arange(IMAGES), settings(tmp_path, 5)))
    assert len(found) == scores_of(embeddings) == 12
    assert next(iter(found)) == PAPER
    np.testing.assert_array_equal(rows, before)
    count, upper = int(PER_IMAGE[-1] * IMAGES), np.triu_indices(IMAGES, 1)
    for (layer, transform, views, selection), pairs in found.items():
        x = transformed(embeddings[layer, views], transform)
        if selection == "walks":
            every = join(Walk(x.astype(np.float32), 5).blocks(0, 1))
            anchor, positive, value = every
        else:
            anchor, positive = upper
            value = (x @ x.T)[upper]
        best = set(np.argsort(-value, kind="stable")[:count])
        expected = {(anchor[i], positive[i]) for i in best}
        assert set(zip(pairs.anchor, pairs.positive, strict=True)) == expected
        assert pairs.similarity.min() == pytest.approx(min(value[i] for i in best), abs=1e-5)


def test_walks_have_ten_neighbours_where_params_have_none(rows, tmp_path):
    assert settings(tmp_path).neighbours == 10
    by_ten, by_none = (
        dict(pairs_by_score({("backbone", 0): rows}, np.arange(IMAGES), settings(tmp_path, n)))
        for n in (10, 0)
    )
    for score, pairs in by_ten.items():
        np.testing.assert_array_equal(pairs.similarity, by_none[score].similarity)


def chain(*similarities: float) -> Pairs:
    """Pairs (0, 1), (1, 2), … of such similarities."""
    first = np.arange(len(similarities))
    return Pairs(first, first + 1, np.array(similarities, np.float32))


def test_what_is_measured_is_what_one_counts_by_hand():
    labels = np.array([0, 0, 1, 1, 1, 0, 0, -1])
    pairs, paper = chain(0.5, 0.75, 1, 0.25, 0.125, 0.625, 0.375), chain(1, 0.5)
    found = measure(pairs, paper, len(labels), partial(describe, labels=labels))
    assert list(found) == list(PER_IMAGE)
    quarter, whole = found[0.25], found[1.0]  # of eight images: (1, 2) and (2, 3); all seven
    assert quarter["pairs"] == 2
    assert quarter["accuracy"] == 0.5  # labels 0 1, and 1 1
    assert quarter["accuracy_low"] < 0.5 < quarter["accuracy_high"]
    assert quarter["images_covered"] == 3 / 8
    assert quarter["similarity"] == 0.75
    assert quarter["similarity_mean"] == 0.875
    assert quarter["agreement"] == 0.5  # of the paper's (0, 1) and (1, 2)
    assert whole["pairs"] == 7
    assert whole["accuracy"] == pytest.approx(4 / 6, abs=1e-6)  # (6, 7) is not judged
    assert whole["images_covered"] == 1
    assert whole["agreement"] == 1


def test_without_labels_there_is_no_accuracy_but_all_else():
    found = measure(chain(1, 0.5), chain(1, 0.5), 3, partial(describe, labels=np.full(3, -1)))
    row = found[1.0]
    assert row["accuracy"] is row["accuracy_low"] is row["class_balance"] is None
    assert (row["images_covered"], row["similarity"], row["agreement"]) == (1, 0.5, 1)


def test_no_pair_at_all():
    row = measure(join([]), join([]), 3, partial(describe, labels=np.zeros(3, int)))[1.0]
    assert row["pairs"] == 0
    assert row["accuracy"] is row["agreement"] is row["similarity"] is None


def test_another_judge_takes_the_place_of_labels():
    seen = []

    def judge(blocks):
        (pairs,) = blocks
        seen.append(len(pairs.anchor))
        return {"accuracy": 0.25, "anchors_covered": 2, "similarity_min": 0.5}

    found = measure(chain(1, 0.5), chain(1), 4, judge)
    assert seen == [1, 2, 2, 2, 2]
    assert {row["accuracy"] for row in found.values()} == {0.25}


def test_names_of_scores():
    assert str(PAPER) == "projection, cosine"
    assert str(Score("backbone", "whiten", 8, "walks")) == "backbone, whitened, 8 views, walks"
    assert str(Score("backbone", "center", 1, "highest")) == "backbone, centred, 1 view, cosine"
