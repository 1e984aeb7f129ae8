"""What is said of pairs by class and by image, against plain counting."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from stages.common import artifacts
from stages.common.errors import ArtifactError
from stages.common.intervals import accuracy_interval
from stages.common.pairs import Pairs
from stages.reporting import blocks as blocks_module
from stages.reporting import classes as classes_module
from stages.reporting.blocks import pair_blocks
from stages.reporting.breakdown import ALIKE, HUBS, MOST_CLASSES, NAMED, PARTNERS, make_breakdown
from stages.reporting.hubs import find_hubs


class Images:
    def __init__(self, labels, classes: list[str] | None = None) -> None:
        self.labels, self.classes = np.asarray(labels, np.int32), classes

    def read(self, image_id: int) -> Image.Image:
        return Image.new("RGB", (8, 8), (image_id % 256, 0, 0))


def block(rows) -> Pairs:
    anchor, positive, similarity = zip(*rows, strict=True)
    return Pairs(np.array(anchor), np.array(positive), np.array(similarity, np.float32))


def broken_down(rows, labels, limit=0.99, classes=None, **more):
    pairs = block(rows)
    images = Images(labels, classes)
    return make_breakdown(lambda: [pairs], images, images.labels, limit, **more)


def random_pairs(rng: np.random.Generator, images: int, count: int) -> Pairs:
    """Distinct ones in order; a few images have many."""
    ends = np.sort((rng.random((2, count)) ** 2 * images).astype(np.int64), axis=0)
    ends = np.unique(ends[:, ends[0] < ends[1]], axis=1)
    return Pairs(*ends, rng.random(ends.shape[1]).astype(np.float32))


@pytest.mark.parametrize("ends", [1, 7, 2**21])
@pytest.mark.parametrize("seed", range(3))
def test_classes_are_as_counted_one_by_one(monkeypatch, ends, seed):
    monkeypatch.setattr(classes_module, "ENDS", ends)
    rng = np.random.default_rng(seed)
    labels = rng.choice([-1, 3, 4, 7, 9], 40)
    pairs = random_pairs(rng, 40, 150)
    parts = [pairs.take(slice(i, i + 13)) for i in range(0, len(pairs.anchor), 13)]
    images = Images(labels)
    found = make_breakdown(lambda: parts, images, labels, 0.99).classes
    rows = {row.name: row for row in found.rows}
    judged = [(i, j) for i, j, _ in zip(*pairs, strict=True) if labels[i] >= 0 and labels[j] >= 0]
    assert found.judged == len(judged)
    assert found.right == sum(labels[i] == labels[j] for i, j in judged)
    for name in (3, 4, 7, 9):
        own = [pair for pair in judged if name in labels[list(pair)]]
        right = sum(labels[i] == labels[j] for i, j in own)
        degrees = np.bincount(np.ravel(own), minlength=40)
        row = rows[str(name)]
        assert (row.pairs, row.accuracy) == (len(own), right / len(own))
        assert (row.low, row.high) == pytest.approx(accuracy_interval(right, len(own), degrees))
    for one in found.confusions:
        both = {int(one.first), int(one.second)}
        wrong = [pair for pair in judged if set(labels[list(pair)]) == both]
        assert one.found.pairs == len(wrong)
        ends_of = {i for pair in wrong for i in pair}
        assert one.found.images == tuple(
            sum(labels[i] == int(name) for i in ends_of) for name in (one.first, one.second)
        )
    counts = [one.found.pairs for one in found.confusions]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == found.judged - found.right


def test_a_class_of_few_pairs_does_not_head_the_worst():
    """One wrong pair of 'rare' is 0 % right, but may be chance; 40 of 'poor' are 20 % right."""
    labels = [0] * 80 + [1] + [2] * 60
    rows = [(i, i + 40 if i < 8 else 81 + i, 0.98) for i in range(40)] + [(80, 140, 0.98)]
    found = broken_down(rows, labels, classes=["poor", "rare", "other"]).classes
    assert [row.name for row in found.rows] == ["other", "poor", "rare"]
    assert [row.accuracy for row in found.rows] == [0, 0.2, 0]
    assert [(row.other, row.other_pairs) for row in found.rows] == [
        ("poor", 32), ("other", 32), ("other", 1),
    ]  # fmt: skip


def test_many_pairs_of_one_odd_image_say_little_of_a_class():
    star = [(0, i, 0.98) for i in range(1, 41)]  # one image of class 1 and all of class 0
    spread = [(i, 40 + i, 0.98) for i in range(1, 41)]
    odd = broken_down(star, [1] + [0] * 80).classes.rows
    even = broken_down(spread, [1] + [0] * 40 + [1] * 40).classes.rows
    assert {row.accuracy for row in odd + even} == {0}
    assert min(row.high for row in odd) > 0.5
    assert max(row.high for row in even) < 0.1


def test_confusions_have_their_most_similar_pair_and_stand_against_chance():
    labels = [0, 0, 1, 1, 2, 2]
    rows = [(0, 2, 0.971), (1, 2, 0.985), (3, 4, 0.98), (0, 1, 0.99), (1, 3, 0.985)]
    found = broken_down(rows, labels, classes=["a", "b", "c"]).classes
    first, second = found.confusions
    assert (first.first, first.second, first.found.pairs) == ("a", "b", 3)
    assert first.found.images == (2, 2)
    assert (first.example.anchor.id, first.example.positive.id) == (1, 2)  # the first of 0.985
    # Three combinations of classes of two images each: by chance a third of the 4 wrong pairs.
    assert first.found.times == pytest.approx(3 / (4 / 3))
    assert (second.example.anchor.label, second.example.positive.label) == ("b", "c")
    assert found.confusions_total == 2


def test_an_example_is_in_the_order_of_the_names():
    found = broken_down([(0, 1, 0.98)], [1, 0], classes=["a", "b"]).classes.confusions[0]
    assert (found.first, found.example.anchor.label) == ("a", "a")


def test_a_thousand_classes_are_bounded():
    labels = np.arange(4000) % 1000
    rows = [(i, i + 1000, 0.98) for i in range(900)] + [(i, i + 1001, 0.98) for i in range(890)]
    found = broken_down(rows, labels).classes
    assert len(found.rows) == MOST_CLASSES
    assert found.total == 1000
    assert (len(found.absent), found.absent_total) == (NAMED, 100)


def test_hubs_are_the_images_with_most_partners():
    rows = [(0, i, 0.97 + i / 10_000) for i in range(1, 21)] + [(1, 2, 0.98), (30, 31, 0.98)]
    found = broken_down(sorted(rows), [0] * 11 + [1] * 20 + [-1])
    assert [hub.image.id for hub in found.hubs] == [0, 1, 2]  # of one partner there are none
    hub = found.hubs[0]
    assert (hub.partners, hub.judged, hub.right) == (20, 20, 10)
    assert [image.id for image, _ in hub.shown] == [20, 14, 7, 1]  # from most to least similar
    assert [kind for _, kind in hub.shown] == ["different", "different", "same", "same"]
    spread = found.spread
    assert (spread.images, spread.frequent, spread.most, spread.median) == (23, 1, 20, 1)
    assert spread.mean == pytest.approx(2 * 22 / 23)
    assert spread.share == pytest.approx(20 / 22)
    assert spread.even == pytest.approx(2 / 23)


def test_hubs_and_partners_are_bounded():
    rng = np.random.default_rng(0)
    pairs = random_pairs(rng, 200, 3000)
    found = make_breakdown(lambda: [pairs], Images(np.zeros(200)), np.zeros(200, int), 0.99)
    assert len(found.hubs) == HUBS
    assert all(len(hub.shown) == PARTNERS for hub in found.hubs)
    degrees = np.bincount(np.concatenate(pairs[:2]))
    assert [hub.partners for hub in found.hubs] == sorted(degrees, reverse=True)[:HUBS]


def test_the_share_of_the_frequent_counts_a_pair_of_two_of_them_once():
    partners = np.array([3] + [2, 2] + [1] * 198)
    rows = [(0, 1, 0.98), (0, 2, 0.98), (0, 3, 0.98), (1, 4, 0.98), (2, 5, 0.98)]
    rows += [(i, i + 1, 0.98) for i in range(6, 200, 2)]
    spread, _ = find_hubs(lambda: [block(rows)], partners[:200], 2)
    assert spread.frequent == 2  # images 0 and 1
    assert spread.share == pytest.approx(4 / len(rows) * 2 * len(rows) / partners[:200].sum())


@pytest.mark.parametrize("count", [None, 3, 40.4])
def test_pairs_above_max_are_shown_the_most_similar_first(count):
    """0.99 as a float32 is more than 0.99, and was mined."""
    sample = block([(0, 1, 0.99), (2, 3, 0.995), (0, 3, 0.999), (1, 2, 0.98), (1, 3, 0.995)])
    alike = broken_down(
        [(0, 1, 0.99)], [0, 0, 1, -1], sample=sample, count_above=count
    ).alike  # fmt: skip
    assert alike.above
    assert [(card.anchor.id, card.positive.id) for card in alike.cards] == [(0, 3), (2, 3), (1, 3)]
    assert [card.kind for card in alike.cards] == ["unknown"] * 3
    assert alike.count == (None if count is None else round(count))
    assert alike.whole == (count == 3)


@pytest.mark.parametrize(
    ("limit", "sample"),
    [(1.0, block([(0, 1, 0.999)])), (0.99, block([(0, 1, 0.98)])), (0.99, None)],
)
def test_else_the_most_similar_mined_pairs_are(limit, sample):
    rows = [(0, i, 0.98 - i / 1000) for i in range(1, 20)]
    alike = broken_down(rows, [0] * 20, limit=limit, sample=sample).alike
    assert not alike.above
    assert alike.sampled == (sample is not None)
    assert [card.positive.id for card in alike.cards] == list(range(1, ALIKE + 1))


def test_without_labels_there_are_no_classes():
    found = broken_down([(0, 1, 0.98), (0, 2, 0.98)], [-1, -1, -1])
    assert found.classes is None
    assert found.hubs[0].judged == 0
    assert [kind for _, kind in found.hubs[0].shown] == ["unknown", "unknown"]


def test_without_pairs_there_is_nothing():
    assert make_breakdown(lambda: [], Images([0, 1]), np.array([0, 1]), 0.99) is None


def test_pairs_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks_module, "BLOCK", 2)
    pairs = random_pairs(np.random.default_rng(0), 9, 30)
    path = tmp_path / "pairs.parquet"
    write(path, pairs)
    read = pair_blocks(path, tmp_path / "manifest.parquet", 9)
    for _ in range(2):  # every call goes through all
        parts = list(read())
        assert max(len(part.anchor) for part in parts) == 2
        for column, whole in zip(zip(*parts, strict=True), pairs, strict=True):
            np.testing.assert_array_equal(np.concatenate(column), whole)


def test_pairs_of_images_that_are_not_there_are_refused(tmp_path):
    path = tmp_path / "pairs.parquet"
    write(path, block([(0, 9, 0.98)]))
    with pytest.raises(ArtifactError, match=r"names images that are not in m; run `dvc repro mine"):
        list(pair_blocks(path, "m", 9)())


def write(path, pairs: Pairs) -> None:
    table = pa.table(list(pairs), schema=artifacts.PAIRS)
    artifacts.write_parquet(path, table, artifacts.PAIRS)
