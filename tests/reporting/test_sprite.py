"""All pictures of the explorer as one, within the bytes that there are for it."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from stages.reporting.sprite import LADDER, Thumbnails, make_sprite, thumbnails


class Noise:
    """Images that no coder makes small."""

    labels, classes = np.zeros(10_000, np.int32), None

    def __init__(self, *size: int) -> None:
        self.size = size

    def read(self, image_id: int) -> Image.Image:
        rng = np.random.default_rng(image_id)
        return Image.fromarray(rng.integers(0, 256, (*self.size[::-1], 3), dtype=np.uint8))


def sheet(sprite) -> np.ndarray:
    head, data = sprite.uri.split(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def tile(sprite, place: int) -> np.ndarray:
    y, x = (sprite.cell * n for n in divmod(place, sprite.columns))
    return sheet(sprite)[y : y + sprite.heights[place], x : x + sprite.widths[place]]


def test_small_images_keep_every_pixel_where_there_is_room():
    images = Noise(35, 28)
    sprite = make_sprite(thumbnails(range(30), images), 10**6)
    for place in (0, 7, 29):
        assert (tile(sprite, place) == np.asarray(images.read(place))).all()


@pytest.mark.parametrize("size", [(35, 35), (48, 48), (400, 300)])
@pytest.mark.parametrize("budget", [2_000_000, 700_000])
def test_it_is_as_large_as_there_is_room_for(size, budget):
    count = 500
    sprite = make_sprite(thumbnails(range(count), Noise(*size)), budget)
    assert 0.2 * budget < len(sprite.uri) <= budget
    assert len(sprite.widths) == len(sprite.heights) == count
    assert max(sheet(sprite).shape) <= 16_383  # the most that WebP has


def test_shapes_stay_and_more_room_gives_larger_pictures():
    made = thumbnails(range(40), Noise(400, 300))
    edges = [make_sprite(made, budget).widths[0] for budget in (20_000, 100_000, 10**6)]
    assert edges == sorted(set(edges))
    assert edges[-1] == 128
    sprite = make_sprite(made, 10**6)
    assert set(sprite.heights) == {96}


def test_the_last_step_is_taken_whatever_there_is_room_for():
    sprite = make_sprite(thumbnails(range(10), Noise(64, 64)), 0)
    assert sprite.widths[0] == LADDER[-1][0]


def test_many_are_held_small_from_the_start():
    made = thumbnails(range(3000), Noise(80, 80))
    assert max(made.pixels[0].shape) == 64


def test_the_same_pictures_give_the_same_bytes():
    made = thumbnails(range(20), Noise(60, 60))
    assert make_sprite(made, 10**5) == make_sprite(made, 10**5)
    assert make_sprite(Thumbnails([]), 10**5) is None
