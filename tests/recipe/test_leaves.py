"""A plan as params.yaml: a whole, valid file that says what was found and chosen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from stages.common.all_params import AllParams
from stages.common.params import load_all
from stages.common.plugins import plugins
from stages.recipe.choose import TooShort, choose
from stages.recipe.duration import spoken
from stages.recipe.leaves import params_text
from stages.recipe.plan import Plan
from stages.recipe.text import preset, values_of, with_header
from stages.recipe.told import described, header, print_least, warnings
from stages.ssl.preflight import check_trainings
from tests.conftest import write_recipe
from tests.recipe.made_plans import GPU, LAPTOP, images, measure_on
from tests.recipe.test_choose import CASES, HOUR, MINUTE, chosen


def written(plan: Plan, folder: Path, budget: float = 1800.0) -> tuple[str, AllParams]:
    text = with_header(params_text(plan), header(plan, budget))
    return text, load_all(write_recipe(folder, text))


@pytest.mark.parametrize("case", CASES)
def test_the_file_is_whole_and_valid(tmp_path, case):
    found, machine, budget = CASES[case]
    plan = chosen(found, machine, budget)
    text, params = written(plan, tmp_path, budget)
    check_trainings(tmp_path / "params.yaml")
    assert set(params.methods) == set(plugins("ssl/methods"))
    assert params.data.name == "imagefolder"
    assert params.views.image_size == plan.setting.network.view
    assert params.seeds == list(plan.seeds)
    assert params.arms == ["vanilla", "sepp"]
    for training in (params.sampler, params.pretrain):
        assert training.backbone == plan.setting.network.backbone
        assert training.stem == plan.setting.network.stem
        assert training.batch_size == plan.setting.batch
        assert training.method == plan.setting.method
    assert (params.sampler.epochs, params.pretrain.epochs) == (plan.sampler_epochs, plan.epochs)
    assert params.pretrain.start == "sampler"
    assert params.pretrain.match_steps
    presets = {line for name in ("characters", "imagenet") for line in preset(name).splitlines()}
    assert max(len(line) for line in text.splitlines() if line not in presets) <= 102


@pytest.mark.parametrize("case", CASES)
def test_queues_are_shorter_than_the_images(tmp_path, case):
    found, machine, budget = CASES[case]
    plan = chosen(found, machine, budget)
    _, params = written(plan, tmp_path)
    queues = {name: block["queue"] for name, block in params.methods.items() if "queue" in block}
    assert {"moco", "nnclr", "fnc", "swav"} <= set(queues)
    for name, queue in queues.items():
        assert queue <= found.train / 2, name
    assert queues["moco"] >= 2 * plan.setting.batch  # the keys of a step


def test_every_leaf_has_its_place_in_both_presets():
    for name in ("characters", "imagenet"):
        plan = chosen(
            *CASES["1.2 million on eight GPUs" if name == "imagenet" else "200 grey drawings"]
        )
        text = params_text(plan)
        bare = [re.sub(r": *[^#]*(#.*)?$", "", line) for line in preset(name).splitlines()]
        new = [re.sub(r": *[^#]*(#.*)?$", "", line) for line in text.splitlines()]
        assert new == bare, name


def test_what_was_measured_is_written(tmp_path):
    found = images(540, 900, split=0.2, mean=(0.1, 0.2, 0.3), std=(0.11, 0.22, 0.33), broken=3)
    _, params = written(chosen(found), tmp_path)
    assert params.views.mean == (0.1, 0.2, 0.3)
    assert params.views.std == (0.11, 0.22, 0.33)
    assert params.data.split == 0.2
    assert params.data.resize == 128
    assert params.data.skip_broken


def test_grey_drawings_have_no_colour_and_are_not_mirrored(tmp_path):
    _, params = written(chosen(*CASES["200 grey drawings"]), tmp_path)
    views = params.views
    assert (views.saturation, views.hue, views.grayscale, views.flip) == (0, 0, 0, 0)
    assert (params.sepp.transform, params.sepp.neighbours) == ("whiten", 10)
    _, params = written(chosen(images(540, 900, grey=True)), tmp_path)
    assert (params.views.saturation, params.views.flip) == (0, 0.5)


@pytest.mark.parametrize(
    ("labelled", "classes", "k"), [(480, 4, 120), (40, 20, 2), (9000, 10, 200)]
)
def test_neighbours_are_at_most_a_class(tmp_path, labelled, classes, k):
    _, params = written(chosen(images(540, 900, labelled=labelled, classes=classes)), tmp_path)
    assert params.linear_eval.knn_k == k


def test_without_labels(tmp_path):
    found = images(3000, 700, test=0, labelled=0, classes=0, no_labels=True)
    plan = chosen(found, budget=2 * HOUR)
    text, params = written(plan, tmp_path)
    assert params.data.unlabelled
    assert params.seeds == [0]
    assert "no labels" in text.split("\ndata:")[0]
    assert any("sepp label" in line for line in warnings(plan))


def test_the_header_says_what_was_found_chosen_and_expected(tmp_path):
    plan = chosen(images(540, 900, split=0.2))
    head = " ".join(
        line.lstrip("# ") for line in written(plan, tmp_path)[0].split("\n\n")[0].split("\n")
    )
    assert "`sepp preset auto --data imagefolder --budget 30m`" in head
    assert (
        "540 of imagefolder to train on and 54 to test (data.split: 0.2), 4 classes, in colour"
        in head
    )
    assert "squares of 128 pixels" in head
    assert "2 cores, 8 GiB, no GPU" in head
    assert "resnet10-w16 on views of 64 pixels" in head
    assert f"{plan.epochs} epochs" in head
    for line in plan.expected:
        assert line.stage in head
    assert "characters" not in head


def told(plan: Plan) -> str:
    return " ".join(warnings(plan))


MANY = {"test": 240}  # images to test on


def test_warnings():
    assert told(chosen(images(540, 900, **MANY))) == ""
    assert "Of 259 images looked at, those that do not decode (3)" in told(
        chosen(images(540, 900, broken=3))
    )
    two = replace(GPU, there=2)
    assert "SEPP_DEVICES=2" in told(choose(images(540, 900), two, HOUR, measure_on(two)))
    assert "SEPP_DEVICES" not in told(choose(images(540, 900), GPU, HOUR, measure_on(GPU)))
    assert "SEPP_DEVICES" not in told(chosen(images(540, 900), LAPTOP))


def test_a_short_budget_is_warned_of_with_the_least_that_a_refusal_names():
    short = chosen(images(540, 900), budget=5 * MINUTE)
    assert "Too short to learn much" in told(short)
    assert "One seed" in told(short)
    least = re.search(r"--budget (\d+)m has them", told(short))[1]
    with pytest.raises(TooShort, match=f"--budget {least}m is the least"):
        chosen(images(540, 900), budget=MINUTE)
    assert "Too short" not in told(chosen(images(540, 900), budget=float(least) * MINUTE))


def test_few_training_images_are_warned_of():
    assert "499 images to train on are few" in told(chosen(images(499, 900)))
    assert "to train on are few" not in told(chosen(images(500, 900)))


@pytest.mark.parametrize(
    ("test", "words"), [(24, "within 20 points"), (120, "within 9 points"), (199, "within 7")]
)
def test_few_test_images_are_warned_of(test, words):
    warned = told(chosen(images(540, 900, test=test)))
    assert f"{test} test images are few" in warned
    assert words in warned


def test_few_test_images_are_not_warned_of_where_nothing_is_evaluated():
    assert "are few" not in told(chosen(images(540, 900, test=0, labelled=0, classes=0)))


@pytest.mark.parametrize(("load", "busy"), [(0.5, False), (1.4, False), (1.6, True), (9.0, True)])
def test_a_busy_machine_is_told_of(load, busy):
    machine = replace(LAPTOP, load=load, all_cores=2)
    warned = told(chosen(images(540, 900, **MANY), machine))
    assert ("busy" in warned) == busy
    assert (f"load {load} on 2 cores" in warned) == busy


def test_the_least_is_told_stage_by_stage(capsys):
    machine = replace(LAPTOP, load=9.0, all_cores=2)
    with pytest.raises(TooShort) as refused:
        chosen(images(540, 900), machine, budget=MINUTE)
    print_least(refused.value.least)
    text = " ".join(capsys.readouterr().out.split())
    for line in refused.value.least.expected:
        assert f"{line.stage} {line.runs} {spoken(line.seconds)} " in text
    assert f"whole {spoken(refused.value.least.seconds)}" in text
    assert f"{spoken(refused.value.least.seconds)} of work" in str(refused.value)
    assert "load 9.0 on 2 cores" in text
    assert "At least: resnet10-w16" in text
    assert "1 seed" in text


def test_images_without_a_use_are_told_apart_and_counts_that_are_estimates():
    found = images(540, 900, test=54, unused=20, estimated=True)
    assert "about 540 of imagefolder to train on and 54 to test, 20 more" in described(found)
    assert "about" not in described(images(540, 900))
    assert "more to test" not in described(images(540, 900))


def test_the_presets_that_are_taken_are_the_nearest():
    values = values_of(params_text(chosen(*CASES["1.2 million on eight GPUs"])))
    assert values["methods"]["moco"]["hidden_dim"] == 2048
    assert values["methods"]["byol"] == values_of(preset("imagenet"))["methods"]["byol"]


@pytest.mark.parametrize("devices", [1, 2, 3, 4, 5, 6, 8, 16])
def test_batches_and_batch_norms_split_over_the_devices(devices):
    machine = replace(GPU, devices=devices, there=devices)
    plan = choose(images(200_000, 300), machine, 48 * HOUR, measure_on(machine))
    moco = values_of(params_text(plan))["methods"]["moco"]
    assert plan.setting.method == "moco"
    assert plan.setting.batch % devices == 0
    groups, rest = divmod(moco["bn_splits"], devices)
    assert rest == 0
    assert plan.setting.batch // devices % groups == 0
