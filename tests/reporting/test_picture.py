"""The picture of mined pairs: small, always the same, and legible without its colours."""

import io

import numpy as np
import pytest
from PIL import Image

from stages.common.pairs import Pairs
from stages.reporting.gallery import make_gallery
from stages.reporting.picture import EDGE, FRAMES, LIMIT, PAD, SPACE, TOP, draw


class Noise:
    """Images that compress worst."""

    classes = None

    def __init__(self, labels: list[int], height: int, width: int) -> None:
        self.labels = np.array(labels, np.int32)
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (len(labels), height, width, 3), dtype=np.uint8)

    def read(self, image_id: int) -> Image.Image:
        return Image.fromarray(self.pixels[image_id])


def drawn(labels: list[int], accuracy: float | None, height: int = 8, width: int = 8) -> bytes:
    """Of as many pairs as there are labels but one: each image with the next."""
    images, count = Noise(labels, height, width), len(labels) - 1
    rows = [np.arange(count), np.arange(1, count + 1), np.linspace(0.971, 0.979, count)]
    pairs = {"count": count, "accuracy": accuracy, "chance": None if accuracy is None else 0.1}
    summary = {"pairs": pairs, "data": {"name": "made"}}
    return draw(make_gallery(lambda: [Pairs(*rows)], images), images, summary)


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 32), (200, 300), (300, 20)])
def test_it_is_small_whatever_the_images_and_always_the_same(height, width):
    png = drawn([0, 1] * 40, 0.0, height, width)
    assert len(png) <= LIMIT
    assert png == drawn([0, 1] * 40, 0.0, height, width)
    assert not Image.open(io.BytesIO(png)).info


def test_frames_and_marks_tell_right_from_wrong():
    picture = opened(drawn([0, 0, 1], 0.5))  # by falling similarity: 0 with 1, then 0 with 0
    step = 2 * EDGE + 6 + 2 * PAD + SPACE
    grey = picture.convert("L")
    for kind, left in (("different", SPACE), ("same", SPACE + step)):
        red, green, blue = picture.getpixel((left + 1, TOP + EDGE // 2))
        assert f"#{red:02x}{green:02x}{blue:02x}" == FRAMES[kind]
    marks = [
        grey.crop((left + 2 * EDGE, TOP + PAD + EDGE, left + step - SPACE - 4, TOP + EDGE + 40))
        for left in (SPACE, SPACE + step)
    ]
    assert np.abs(np.subtract(*(np.asarray(m, np.float64) for m in marks))).max() > 60


def test_small_images_are_shown_as_they_are():
    images = Noise([0, 0, 1], 8, 8)
    picture = opened(drawn([0, 0, 1], 0.5))
    x, y, scale = SPACE + PAD, TOP + PAD, EDGE // 8
    shown = picture.crop((x, y, x + EDGE, y + EDGE)).resize((8, 8), Image.Resampling.BOX)
    assert scale * 8 == EDGE
    assert (np.asarray(shown) == images.pixels[1]).all()


def test_without_labels_or_pairs_it_is_a_picture_still():
    assert opened(drawn([-1] * 4, None)).size == opened(drawn([0] * 4, 1.0)).size
    assert opened(drawn([0], None)).height == TOP
