"""A rehearsal has less of everything, in the same order."""

from __future__ import annotations

import copy

from stages.common.all_params import AllParams
from stages.study.scale import shorter, shrink
from tests.conftest import REPOSITORY, YAML_SAFE


def preset(name: str) -> dict:
    return YAML_SAFE.load((REPOSITORY / f"stages/presets/{name}.yaml").read_text())


def test_epochs_keep_their_order():
    assert shorter([100, 200, 400, 800], 0.02) == {100: 2, 200: 4, 400: 8, 800: 16}
    assert shorter([36, 33, 30, 40, 40], 0.02) == {30: 1, 33: 2, 36: 3, 40: 4}
    assert shorter([1], 0.02) == {1: 1}


def test_a_warm_start_with_rounds_stays_one():
    params = preset("characters")
    params["pretrain"]["handover"] = [33, 36]
    params["rounds"] = [
        {"name": "round2", "start": "sepp", "at": 33, "sepp": {}},
        {"name": "round3", "start": "round2", "at": 36, "sepp": {}},
    ]
    before = copy.deepcopy(params)
    small = shrink(params, 0.02, 2040)
    assert params == before
    AllParams.model_validate({**small, "seed": 0})
    assert (small["sampler"]["epochs"], small["sampler"]["of_epochs"]) == (1, 4)
    assert (small["pretrain"]["epochs"], small["pretrain"]["handover"]) == (4, [2, 3])
    assert [one["at"] for one in small["rounds"]] == [2, 3]


def test_nothing_grows():
    for name, images in (("imagenet", 1_281_167), ("digits", 1_437), ("stl10", 100_000)):
        params = preset(name)
        small = shrink(params, 0.02, images)
        assert small["data"]["limit"] == {"imagenet": 25_623, "digits": 512, "stl10": 2_000}[name]
        for section in ("sampler", "pretrain", "linear_eval"):
            for leaf in ("epochs", "batch_size"):
                assert small[section][leaf] <= params[section][leaf]
        assert small["views"]["image_size"] <= 32
        assert small["pretrain"]["backbone"] == "resnet10-w16"
        for method, block in small["methods"].items():
            for leaf, value in block.items():
                old = params["methods"][method][leaf]
                assert value == old or value < old, (method, leaf)
        assert small["methods"]["moco"]["queue"] <= small["data"]["limit"]
        assert small["sepp"]["max_pairs"] == 4 * small["data"]["limit"]
        assert small["sepp"]["min"] == params["sepp"]["min"]


def test_given_weights_are_of_another_network():
    params = preset("imagenet")
    params["sampler"]["checkpoint"] = "moco.pth.tar"
    params["pretrain"]["weights"] = "resnet50.pth"
    params["watch"] = ["sampler", "pretrain"]
    small = shrink(params, 0.02, 1000)
    assert small["pretrain"]["weights"] is None
    assert small["sampler"]["checkpoint"] == "moco.pth.tar"  # which brings its own
    assert small["watch"] == ["sampler"]
    AllParams.model_validate({**small, "seed": 0})


def test_further_evaluations_are_short():
    params = preset("imagenet")
    params["evaluations"] = ["semi_supervised", "detection"]
    small = shrink(params, 0.02, 1000)
    told = small["semi_supervised"]
    assert (told["epochs"], told["milestones"]) == (3, [1, 2])  # of 20, 12 and 16, in order
    assert small["detection"]["iterations"] == 480
    assert small["transfer"] == params["transfer"]  # which does not run


def test_a_set_of_unknown_size_is_limited_and_a_small_one_whole():
    assert shrink(preset("stl10"), 0.5, None)["data"]["limit"] == 512
    assert shrink(preset("digits"), 0.02, 300)["data"]["limit"] == 300
