"""Which pairs are shown, and how their images are carried."""

import base64
import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from stages.common import artifacts
from stages.reporting.gallery import CARDS, make_gallery, picture, sample


class Images:
    def __init__(self, edge: int, labels: list[int], classes: list[str] | None) -> None:
        self.labels, self.classes, self.edge = np.array(labels, np.int32), classes, edge

    def read(self, image_id: int) -> Image.Image:
        return Image.new("RGB", (self.edge, self.edge // 2), (image_id, 0, 0))


@pytest.mark.parametrize(
    ("right", "wrong"), [(1000, 0), (0, 1000), (1000, 10), (700, 300), (280, 720), (3, 2)]
)
def test_the_sample_is_in_true_proportion(right, wrong):
    """On average over draws right pairs are as frequent as among all, whatever their similarity."""
    total = right + wrong
    similarity = np.linspace(0.90, 0.99, total).astype(np.float32)  # the wrong ones are less alike
    is_wrong = np.arange(total) < wrong
    drawn = [sample(similarity, CARDS, np.random.default_rng(seed)) for seed in range(300)]
    assert {len(set(rows.tolist())) for rows in drawn} == {min(CARDS, total)}
    share = np.mean([is_wrong[rows].mean() for rows in drawn])
    assert share == pytest.approx(wrong / total, abs=0.02)


def test_each_bin_is_shown_by_its_share():
    similarity = np.repeat(np.array([0.95, 0.96, 0.97, 0.98], np.float32), [1200, 600, 300, 300])
    rows = sample(similarity, 24, np.random.default_rng(0))
    values, counts = np.unique(similarity[rows].round(2), return_counts=True)
    assert dict(zip(values.round(2).tolist(), counts.tolist(), strict=True)) == pytest.approx(
        {np.float32(0.95).item(): 12, np.float32(0.96).item(): 6, np.float32(0.97).item(): 3,
         np.float32(0.98).item(): 3}
    )  # fmt: skip
    assert (np.diff(similarity[rows]) <= 0).all()


def test_filters_have_more_of_a_rare_kind_without_showing_it_as_frequent():
    labels = [*range(1000), *range(970), *range(5000, 5030)]
    table = pa.table(
        [np.arange(1000), np.arange(1000, 2000), np.linspace(0.97, 0.98, 1000)],
        artifacts.PAIRS.names,
    )
    cards = make_gallery(table.cast(artifacts.PAIRS), Images(8, labels, None))
    shown = [card for card in cards if card.sampled]
    assert len(shown) == CARDS
    assert sum(card.kind == "different" for card in cards) == CARDS  # of 30
    assert sum(card.kind == "different" for card in shown) <= 4
    pairs = [(card.anchor.id, card.positive.id) for card in cards]
    assert len(set(pairs)) == len(pairs)


def test_cards_say_whether_labels_agree():
    images = Images(8, [0, 0, 1, -1], ["cat", "dog"])
    table = pa.table([[0, 0, 0], [1, 2, 3], [0.97, 0.98, 0.99]], artifacts.PAIRS.names)
    cards = make_gallery(table.cast(artifacts.PAIRS), images)
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
