"""Constants of the authors' ImageNet recipes, as their code has them, against our defaults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.common.errors import ParamError
from stages.common.param_file import validate
from stages.common.sections import Views
from stages.ssl.methods import MethodParams, find_method
from tests.conftest import load_preset
from tests.ssl.tiny import common_views

# crop_area from, brightness, contrast, saturation, hue, blur, solarize; all else is alike: area up
# to 1, ratio 3/4 to 4/3, flip 0.5, colours with 0.8, grayscale with 0.2.
MOCO = (0.2, 0.4, 0.4, 0.4, 0.1, 0.5, 0.0)  # facebookresearch/moco --aug-plus, and simsiam
SIMCLR = (0.08, 0.8, 0.8, 0.8, 0.2, 0.5, 0.0)  # google-research/simclr, strength 1; and fnc
SWAV = (0.14, 0.8, 0.8, 0.8, 0.2, 0.5, 0.0)  # facebookresearch/swav
# deepmind-research/byol, facebookresearch/barlowtwins and vicreg, solo-learn's asymmetric.yaml
BYOL = (0.08, 0.4, 0.4, 0.2, 0.1, 1.0, 0.0), (0.08, 0.4, 0.4, 0.2, 0.1, 0.1, 0.2)
# facebookresearch/dino with --global_crops_scale 0.14 1, as its ResNet-50; and its small crops
DINO = (0.14, 0.4, 0.4, 0.2, 0.1, 1.0, 0.0), (0.14, 0.4, 0.4, 0.2, 0.1, 0.1, 0.2)
DINO_LOCAL = (0.05, 0.4, 0.4, 0.2, 0.1, 0.5, 0.0)
SWAV_LOCAL = (0.05, *SWAV[1:])
RECIPES = {
    "moco": [MOCO] * 2,
    "simsiam": [MOCO] * 2,
    "simclr": [SIMCLR] * 2,
    "fnc": [SIMCLR] * 10,
    "swav": [SWAV] * 2 + [SWAV_LOCAL] * 6,
    "byol": [*BYOL],
    "barlow_twins": [*BYOL],
    "vicreg": [*BYOL],
    "nnclr": [*BYOL],
    "dino": [*DINO, *[DINO_LOCAL] * 8],
}


def numbers(views: Views) -> tuple[float, ...]:
    """Those that differ between the recipes."""
    names = ("brightness", "contrast", "saturation", "hue", "blur", "solarize")
    return (views.crop_area[0], *(getattr(views, name) for name in names))


def views_of(name: str, common: Views, block: dict[str, Any]) -> list[Views]:
    kind = find_method(name)
    model = kind.__new__(kind)  # without its networks, which are large
    object.__setattr__(model, "params", kind.Params(**block))
    return kind.row_views(model, common)


@pytest.mark.parametrize("name", RECIPES)
def test_the_imagenet_presets_views_are_the_authors(name):
    settings = load_preset("imagenet")
    views = views_of(name, settings.views, settings.methods[name])
    assert [numbers(view) for view in views] == RECIPES[name]
    for view in views:
        small = view.crop_area[0] == 0.05
        assert view.crop_area[1] == (0.14 if small else 1.0)
        assert view.image_size == (96 if small else 224)
        assert (view.flip, view.jitter, view.grayscale) == (0.5, 0.8, 0.2)
        assert view.crop_ratio == pytest.approx((3 / 4, 4 / 3), abs=1e-4)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("preset", ["digits", "cifar10", "stl10"])
def test_the_small_presets_two_views_are_their_sections(preset, name):
    settings = load_preset(preset)
    two = views_of(name, settings.views, settings.methods[name])[:2]
    assert two == [settings.views] * 2


# Recipes for the schedules that the imagenet preset and the docstrings name.
RATES = {
    "byol": {"base_lr": 0.45, "weight_decay": 1e-6, "momentum": 0.99},  # _PRESETS[100]
    "vicreg": {"base_lr": 0.3, "weight_decay": 1e-6},  # README, 100 epochs
    "barlow_twins": {"base_lr": 0.2, "vector_rate": 0.0048 / 0.2, "weight_decay": 1e-6},
    "simclr": {"base_lr": 0.3, "weight_decay": 1e-6, "temperature": 0.1},
    "simsiam": {"base_lr": 0.05, "weight_decay": 1e-4},
    "moco": {"base_lr": 0.03, "weight_decay": 1e-4, "temperature": 0.2, "momentum": 0.999},
    "swav": {"base_lr": 0.6, "weight_decay": 1e-6, "queue": 3840, "queue_epoch": 15},
    "dino": {"base_lr": 0.03, "weight_decay": 1e-4, "momentum": 0.996},
    "fnc": {"base_lr": 0.1, "rate_scaling": "sqrt", "weight_decay": 1e-4},
}


@pytest.mark.parametrize("name", RATES)
def test_rates_are_the_authors(name):
    params = find_method(name).Params()
    assert {key: getattr(params, key) for key in RATES[name]} == pytest.approx(RATES[name])


def test_the_cifar10_preset_is_lightlys_benchmark():
    settings = load_preset("cifar10")
    kind, block = find_method("moco"), settings.methods["moco"]
    params = kind.Params(**block)
    for training in (settings.sampler, settings.pretrain):
        assert (training.method, training.batch_size, training.stem) == ("moco", 128, "cifar")
        assert params.peak_rate(training.batch_size) == pytest.approx(0.06)
    assert settings.pretrain.epochs == 200
    assert (params.weight_decay, params.temperature, params.momentum) == (5e-4, 0.1, 0.99)
    assert (params.queue, params.symmetric, params.bn_splits) == (4096, True, 8)
    simclr = (0.08, 0.4, 0.4, 0.4, 0.1, 0.0, 0.0)  # its SimCLR collation of strength 0.5, no blur
    assert numbers(settings.views) == simclr


def test_a_sum_of_two_losses_is_their_mean_at_twice_the_rate_and_half_the_decay():
    """What the cifar10 preset says of MoCo's demo: lr 0.06 at batch 512, weight decay 5e-4."""
    rng = np.random.default_rng(0)
    pulls = rng.standard_normal((2, 5))  # two losses (w - pull)^2 / 2

    def steps(share: float, rate: float, decay: float) -> np.ndarray:
        weight, velocity = np.ones(5), np.zeros(5)
        for _ in range(20):
            velocity = 0.9 * velocity + share * (2 * weight - pulls.sum(0)) + decay * weight
            weight = weight - rate * velocity
        return weight

    demo = steps(1.0, 0.06, 5e-4)
    ours = steps(0.5, MethodParams(base_lr=0.06, weight_decay=0).peak_rate(512), 2.5e-4)
    np.testing.assert_allclose(ours, demo, rtol=1e-12)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"first_view": {"blurr": 1.0}}, "first_view.blurr: is not a parameter"),
        ({"views": {"image_size": 32}}, "views.image_size: is not a parameter"),
        ({"second_view": {"solarize": 2.0}}, "second_view.solarize: 2.0: "),
        ({"second_view": {"crop_area": [0.0, 1.0]}}, "second_view.crop_area: 0.0, 1.0: needs 0 <"),
        ({"first_view": {"blur": None}}, "first_view.blur: None: "),
        ({"first_view": None}, "first_view: None: should be a block"),
        ({"rate_scaling": "root"}, "rate_scaling: 'root': "),
    ],
)
def test_a_mistake_is_one_line(tmp_path, block, said):
    with pytest.raises(ParamError) as error:
        validate(tmp_path / "methods.yaml", find_method("byol").Params, block, "byol")
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'methods.yaml'}: byol.{said}")
    assert "\n" not in text


def test_changes_are_on_top_of_each_other():
    common = common_views()
    changes = {"views": {"hue": 0.3, "blur": 0.2}, "second_view": {"blur": 0.7}}
    first, second = views_of("moco", common, changes)
    assert first == common.model_copy(update={"hue": 0.3, "blur": 0.2})
    assert second == common.model_copy(update={"hue": 0.3, "blur": 0.7})
