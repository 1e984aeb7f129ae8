from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from stages.common.sections import Views
from stages.ssl.batches import random_crop
from stages.ssl.preprocessing import Normalize
from stages.ssl.views import RandomViews, blur_kernel, runs
from tests.conftest import load_preset

CIFAR = load_preset("cifar10").views


def changed(**values) -> Views:
    return CIFAR.model_copy(update=values)


def images(count: int = 16, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


def test_shape_type_and_seed():
    views, x = RandomViews(changed(blur=0.5)), images(size=40)
    torch.manual_seed(3)
    first = views(x)
    torch.manual_seed(3)
    assert torch.equal(views(x), first)
    assert not torch.equal(views(x), first)
    assert first.shape == (16, 3, 32, 32)
    assert first.dtype == torch.float32


def test_every_sample_draws_its_own():
    same = images(1).expand(64, -1, -1, -1)
    torch.manual_seed(0)
    views = RandomViews(CIFAR)(same)
    assert len({tuple(v.flatten()[:50].tolist()) for v in views}) == 64


def test_without_any_augmentation_only_normalisation_is_left():
    off = changed(flip=0.0, jitter=0.0, grayscale=0.0, blur=0.0)
    x = images()
    expected = tv.normalize(x.float() / 255, list(CIFAR.mean), list(CIFAR.std))
    torch.testing.assert_close(RandomViews(off, cropped=True)(x), expected)
    torch.testing.assert_close(Normalize(CIFAR.mean, CIFAR.std)(x.float() / 255), expected)


def test_flip_and_grayscale_are_torchvisions():
    x = images()
    plain = {"jitter": 0.0, "blur": 0.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    flipped = RandomViews(changed(flip=1.0, grayscale=0.0, **plain), cropped=True)(x)
    torch.testing.assert_close(flipped, tv.horizontal_flip(x) / 255)
    gray = RandomViews(changed(flip=0.0, grayscale=1.0, **plain), cropped=True)(x)
    torch.testing.assert_close(gray, tv.rgb_to_grayscale(x.float() / 255, 3), atol=1e-3, rtol=0)


def test_brightness_is_a_factor_within_its_strength():
    """Of a constant image, brightness alone: x * f, with f in [0.6, 1.4] and another per sample."""
    x = torch.full((64, 3, 8, 8), 100, dtype=torch.uint8)
    only = changed(
        image_size=8, flip=0.0, grayscale=0.0, blur=0.0, jitter=1.0,
        brightness=0.4, contrast=0.0, saturation=0.0, hue=0.0,
        mean=(0.0,) * 3, std=(1.0,) * 3,
    )  # fmt: skip
    torch.manual_seed(0)
    factors = RandomViews(only, cropped=True)(x)[:, 0, 0, 0] * 255 / 100
    assert 0.59 < factors.min() < 0.75
    assert 1.25 < factors.max() < 1.41


def test_a_crop_of_the_whole_image_is_the_image():
    whole = changed(
        crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=0.0, jitter=0.0, grayscale=0.0,
        mean=(0.0,) * 3, std=(1.0,) * 3,
    )  # fmt: skip
    x = images()
    torch.testing.assert_close(RandomViews(whole)(x), x / 255, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [128, 64])
def test_packed_and_streamed_crops_of_noise_have_the_same_deviation(size):
    """Both are antialiased: without, the deviation stays the noise's (0.2), whatever the size."""
    plain = changed(
        crop_area=(0.6, 0.6), crop_ratio=(1.0, 1.0), flip=0.0, jitter=0.0, grayscale=0.0, blur=0.0,
        mean=(0.0,) * 3, std=(1.0,) * 3,
    )  # fmt: skip
    torch.manual_seed(0)
    noise = (torch.randn(64, 3, size, size) * 51 + 127).clamp(0, 255).to(torch.uint8)
    packed = RandomViews(plain)(noise).std()
    crop = random_crop(plain)
    streamed = torch.stack([crop(image) for image in noise]).div(255).std()
    assert packed < 0.12
    assert packed.item() == pytest.approx(streamed.item(), rel=0.01)


def test_solarize_inverts_the_bright_pixels():
    """As PIL's: x below 128, else 255 - x."""
    x = images()
    plain = {"flip": 0.0, "jitter": 0.0, "grayscale": 0.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    ours = RandomViews(changed(solarize=1.0, **plain), cropped=True)(x)
    torch.testing.assert_close(ours, torch.where(x < 128, x, 255 - x) / 255)
    some = RandomViews(changed(solarize=0.25, **plain), cropped=True)(
        x[:1].expand(2000, -1, -1, -1)
    )
    share = (some != x[:1] / 255).flatten(1).any(1).float().mean()
    assert share == pytest.approx(0.25, abs=0.04)


def test_a_blurred_point_is_a_gaussian_of_up_to_two_pixels_at_any_image_size():
    """The second moment of what a point becomes is sigma squared; a kernel cut at a tenth of 32
    pixels would leave it below one."""
    x = torch.zeros(4000, 3, 32, 32, dtype=torch.uint8)
    x[:, :, 16, 16] = 255
    only = changed(
        flip=0.0, jitter=0.0, grayscale=0.0, blur=1.0, mean=(0.0,) * 3, std=(1.0,) * 3
    )  # fmt: skip
    torch.manual_seed(0)
    spread = RandomViews(only, cropped=True)(x)[:, 0].double()
    offset = (torch.arange(32) - 16.0).double()
    variance = (spread.sum(1) * offset.square()).sum(1).numpy()
    assert variance.max() == pytest.approx(4.0, rel=0.05)
    # Of sigma uniform in [0.1, 2]: the mean of its square is (2^3 - 0.1^3) / (3 * 1.9).
    assert np.mean(variance) == pytest.approx(7.999 / 5.7, rel=0.06)


def test_blur_kernels_reach_three_sigma_and_are_the_authors_at_224():
    assert [blur_kernel(size) for size in (224, 96, 32, 8, 4)] == [23, 13, 13, 13, 7]


def test_views_that_are_alike_are_made_in_one_run():
    other = changed(blur=0.3)
    plan = [CIFAR, changed(), other, CIFAR, CIFAR, CIFAR]
    assert runs(plan) == [(CIFAR, 2), (other, 1), (CIFAR, 3)]
