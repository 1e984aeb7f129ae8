"""Which pairs are shown, and how their images are carried."""

import base64
import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from stages.common import artifacts
from stages.reporting.gallery import CARDS, WRONG, choose, make_gallery, picture, spread


class Images:
    def __init__(self, edge: int, labels: list[int], classes: list[str] | None) -> None:
        self.labels, self.classes, self.edge = np.array(labels, np.int32), classes, edge

    def read(self, image_id: int) -> Image.Image:
        return Image.new("RGB", (self.edge, self.edge // 2), (image_id, 0, 0))


def test_spread_is_even_over_the_range_and_not_over_the_ranks():
    values = np.r_[np.linspace(0.97, 0.971, 1000), 0.98, 0.99]
    assert values[spread(values, 3)].round(3).tolist() == [0.97, 0.98, 0.99]


@pytest.mark.parametrize("count", [0, 1, 5, 7])
@pytest.mark.parametrize("values", [[0.5] * 7, [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], range(7)])
def test_spread_takes_none_twice(values, count):
    chosen = spread(np.array(values, float), count)
    assert len(set(chosen.tolist())) == len(chosen) == count


@pytest.mark.parametrize(
    ("right", "wrong", "shown"),
    [
        (1000, 0, (CARDS, 0)),
        (0, 1000, (0, CARDS)),
        (1000, 1, (CARDS - 1, 1)),
        (1000, 500, (CARDS - WRONG, WRONG)),
        (2, 500, (2, CARDS - 2)),
        (3, 2, (3, 2)),
    ],
)
def test_right_and_wrong_pairs_are_both_shown(right, wrong, shown):
    similarity = np.random.default_rng(0).uniform(0.97, 0.99, right + wrong).astype(np.float32)
    is_wrong = np.arange(right + wrong) >= right
    chosen = choose(similarity, is_wrong)
    assert (int((~is_wrong[chosen]).sum()), int(is_wrong[chosen].sum())) == shown
    assert (np.diff(similarity[chosen]) <= 0).all()


def test_cards_say_whether_labels_agree():
    images = Images(8, [0, 0, 1, -1], ["cat", "dog"])
    table = pa.table([[0, 0, 0], [1, 2, 3], [0.97, 0.98, 0.99]], artifacts.PAIRS.names)
    cards = make_gallery(table.cast(artifacts.PAIRS), images)
    assert [card.kind for card in cards] == ["unknown", "different", "same"]
    assert [card.similarity for card in cards] == ["0.9900", "0.9800", "0.9700"]
    assert [card.positive.label for card in cards] == ["no label", "dog", "cat"]


@pytest.mark.parametrize(
    ("edge", "shape", "format_", "crisp"),
    [(8, (8, 4), "PNG", True), (96, (96, 48), "PNG", False), (400, (96, 48), "JPEG", False)],
)
def test_small_images_stay_and_large_ones_shrink(edge, shape, format_, crisp):
    shown = picture(0, Images(edge, [7], None))
    head, data = shown.uri.split(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{format_.lower()};base64"
    assert (image.size, image.format) == (shape, format_)
    assert (shown.width, shown.height, shown.crisp, shown.label) == (*shape, crisp, "7")
