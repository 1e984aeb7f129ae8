"""Batched crops against torchvision's, one by one, and the rule that they are drawn by."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from stages.ssl.crops import draw_boxes, resampling, resized_crops

AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def drawn(count: int, height: int, width: int, area=AREA, ratio=RATIO):
    return draw_boxes(count, height, width, area, ratio, torch.device("cpu"))


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(32, 32, 32), (128, 128, 32), (64, 96, 48), (50, 40, 96), (8, 8, 8)],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_crops_are_torchvisions_antialiased_ones(height, width, size, layout):
    torch.manual_seed(0)
    images = torch.rand(16, 3, height, width).contiguous(memory_format=layout)
    boxes = drawn(16, height, width)
    expected = [
        tv.resized_crop(image, *map(int, box), [size, size], antialias=True)
        for image, box in zip(images, zip(*boxes, strict=True), strict=True)
    ]
    ours = resized_crops(images, boxes, size)
    torch.testing.assert_close(ours, torch.stack(expected), atol=1e-5, rtol=0)


def test_weights_are_pils_triangle():
    """A crop of 8 pixels, from pixel 2, shrunk to 2: by hand. The triangle of output pixel 0 has
    its top at 2 and reaches 4 to each side: from pixel 0 of the crop to pixel 5."""
    weights = resampling(torch.tensor([2]), torch.tensor([8]), 12, 2)[0].double().numpy()
    triangle = np.array([2.5, 3.5, 3.5, 2.5, 1.5, 0.5])
    expected = np.zeros((2, 12))
    expected[0, 2:8], expected[1, 4:10] = triangle / 14, triangle[::-1] / 14
    np.testing.assert_allclose(weights, expected, atol=1e-7)


def test_a_crop_of_the_whole_image_is_the_image():
    images = torch.rand(4, 3, 9, 9)
    boxes = drawn(4, 9, 9, (1.0, 1.0), (1.0, 1.0))
    assert torch.equal(resized_crops(images, boxes, 9), images)


def statistics(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Means of powers of area, ratio and place of (N, 4) boxes: top, left, height, width."""
    top, left, h, w = boxes.astype(float).T
    free = [(top + 0.5) / (height - h + 1), (left + 0.5) / (width - w + 1)]
    columns = np.stack([h * w / (height * width), np.log(w / h), *free])
    return np.stack([(columns**power).mean(1) for power in (1, 2, 3, 6)])


@pytest.mark.parametrize(
    ("height", "width", "area", "ratio"),
    [(64, 64, AREA, RATIO), (60, 90, (0.2, 1.0), RATIO), (64, 64, (0.9, 1.0), (0.3, 3.0))],
)
def test_boxes_are_drawn_by_torchvisions_rule(height, width, area, ratio):
    """Also where no draw of ten fits: in the last case for some."""
    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(8, area, ratio)
    image = torch.empty(3, height, width)
    theirs = [crop.make_params([image]) for _ in range(6000)]
    theirs = np.array([[p[k] for k in ("top", "left", "height", "width")] for p in theirs])
    ours = np.stack([edge.numpy() for edge in drawn(60000, height, width, area, ratio)], axis=1)
    np.testing.assert_allclose(
        statistics(ours, height, width), statistics(theirs, height, width), atol=0.015
    )


@pytest.mark.parametrize(("height", "width"), [(8, 100), (100, 8), (4, 5)])
def test_boxes_lie_within_any_image(height, width):
    top, left, h, w = drawn(2000, height, width)
    assert min(h.min(), w.min()) >= 1
    assert min(top.min(), left.min()) >= 0
    assert (top + h).max() <= height
    assert (left + w).max() <= width


@pytest.mark.parametrize(
    ("height", "width", "box"), [(10, 100, (0, 43, 10, 13)), (100, 10, (43, 0, 13, 10))]
)
def test_where_no_draw_fits_the_crop_is_the_centres(height, width, box):
    """Of the whole area no ratio from 3/4 to 4/3 fits: torchvision takes the nearest ratio."""
    boxes = drawn(5, height, width, (1.0, 1.0))
    assert [tuple(int(e) for e in one) for one in zip(*boxes, strict=True)] == [box] * 5
    image = torch.empty(3, height, width)
    theirs = v2.RandomResizedCrop(8, (1.0, 1.0), RATIO).make_params([image])
    assert tuple(theirs[k] for k in ("top", "left", "height", "width")) == box
