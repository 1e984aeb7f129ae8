"""Which pairs are shown, and how their images are carried."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from stages.common.pairs import Pairs
from stages.reporting.gallery import CARDS, make_gallery, picture
from stages.reporting.samples import more_of, sample


class Images:
    def __init__(self, edge: int, labels: list[int], classes: list[str] | None) -> None:
        self.labels, self.classes, self.edge = np.array(labels, np.int32), classes, edge

    def read(self, image_id: int) -> Image.Image:
        return Image.new("RGB", (self.edge, self.edge // 2), (image_id, 0, 0))


def blocks_of(pairs: Pairs, size: int = 7):
    """Blocks of `size` pairs, as often as it is called."""
    starts = range(0, len(pairs.anchor), size)
    return lambda: (pairs.take(slice(start, start + size)) for start in starts)


def made(similarity: np.ndarray) -> Pairs:
    """Image i with image i + M."""
    rows = np.arange(len(similarity))
    return Pairs(rows, rows + len(rows), similarity.astype(np.float32))


@pytest.mark.parametrize(
    ("right", "wrong"), [(1000, 0), (0, 1000), (1000, 10), (700, 300), (280, 720), (3, 2)]
)
def test_the_sample_is_in_true_proportion(right, wrong):
    """On average over draws right pairs are as frequent as among all, whatever their similarity."""
    total = right + wrong
    pairs = made(np.linspace(0.90, 0.99, total))
    is_wrong = np.arange(total) < wrong  # the wrong ones are less alike
    draws = (np.random.default_rng(seed) for seed in range(300))
    drawn = [sample(blocks_of(pairs, 400), CARDS, rng).anchor for rng in draws]
    assert {len(set(rows.tolist())) for rows in drawn} == {min(CARDS, total)}
    share = np.mean([is_wrong[rows].mean() for rows in drawn])
    assert share == pytest.approx(wrong / total, abs=0.02)


def test_each_bin_is_shown_by_its_share():
    pairs = made(np.repeat([0.95, 0.96, 0.97, 0.98], [1200, 600, 300, 300]))
    shown = sample(blocks_of(pairs), 24, np.random.default_rng(0)).similarity
    values, counts = np.unique(shown.astype(float).round(2), return_counts=True)
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert found == {0.95: 12, 0.96: 6, 0.97: 3, 0.98: 3}
    assert (np.diff(shown) <= 0).all()


def test_all_pairs_are_shown_where_they_are_few_and_none_where_there_are_none():
    pairs = made(np.array([-1.0, 1.0, 0.5]))
    rng = np.random.default_rng(0)
    assert sample(blocks_of(pairs, 2), CARDS, rng).similarity.tolist() == [1.0, 0.5, -1.0]
    assert len(sample(blocks_of(made(np.empty(0))), CARDS, rng).anchor) == 0


def test_filters_have_more_of_a_rare_kind_without_showing_it_as_frequent():
    labels = [*range(1000), *range(970), *range(5000, 5030)]
    cards = make_gallery(blocks_of(made(np.linspace(0.97, 0.98, 1000))), Images(8, labels, None))
    shown = [card for card in cards if card.sampled]
    assert len(shown) == CARDS
    assert sum(card.kind == "different" for card in cards) == CARDS  # of 30
    assert sum(card.kind == "different" for card in shown) <= 4
    pairs = [(card.anchor.id, card.positive.id) for card in cards]
    assert len(set(pairs)) == len(pairs)


def test_more_of_a_kind_are_any_of_it_alike_often():
    pairs = made(np.full(60, 0.97))
    known = pairs.take(np.arange(0, 60, 6))

    def kind(pairs: Pairs) -> np.ndarray:
        return pairs.anchor % 2  # the known ones are of 0

    draws = (np.random.default_rng(seed) for seed in range(400))
    drawn = [more_of(blocks_of(pairs), kind, 0, known, 15, rng).anchor for rng in draws]
    assert all(len(set(rows.tolist())) == 5 for rows in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=60)
    others = np.setdiff1d(np.arange(0, 60, 2), known.anchor)  # 20 of them, 100 times each
    assert counts.sum() == counts[others].sum()
    assert counts[others].min() > 60
    assert counts[others].max() < 140


def test_cards_say_whether_labels_agree():
    images = Images(8, [0, 0, 1, -1], ["cat", "dog"])
    pairs = Pairs(np.zeros(3, int), np.arange(1, 4), np.array([0.97, 0.98, 0.99], np.float32))
    cards = make_gallery(blocks_of(pairs), images)
    assert [card.kind for card in cards] == ["unknown", "different", "same"]
    assert [card.similarity for card in cards] == ["0.9900", "0.9800", "0.9700"]
    assert [card.positive.label for card in cards] == ["no label", "dog", "cat"]


@pytest.mark.parametrize(
    ("edge", "shape", "format_", "crisp"),
    [(8, (8, 4), "PNG", True), (96, (96, 48), "JPEG", False), (400, (96, 48), "JPEG", False)],
)
def test_small_images_stay_and_large_ones_shrink(edge, shape, format_, crisp):
    shown = picture(0, Images(edge, [7], None))
    head, data = shown.uri.split(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{format_.lower()};base64"
    assert (image.size, image.format) == (shape, format_)
    assert (shown.width, shown.height, shown.crisp, shown.label) == (*shape, crisp, "7")


def test_a_thumbnail_may_be_smaller_and_is_no_crisp_image_then():
    shown = picture(0, Images(96, [7], None), edge=48)
    assert (shown.width, shown.height, shown.crisp) == (48, 24, False)
    assert shown.uri.startswith("data:image/jpeg")
