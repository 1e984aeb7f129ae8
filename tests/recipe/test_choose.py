"""What is chosen for images, a machine and a budget, of made costs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from stages.common.errors import DataError
from stages.recipe.choose import (
    SHARE,
    TooShort,
    budget_for,
    choose,
    enough,
    fewest_rows,
    kept,
    networks,
)
from stages.recipe.plan import MINED, Plan
from tests.recipe.made_plans import EIGHT, GPU, LAPTOP, images, measure_on

MINUTE, HOUR = 60.0, 3600.0
DRAWINGS = {"grey": True, "size": (28, 28), "sure": True}


def chosen(found, machine=LAPTOP, budget=30 * MINUTE) -> Plan:
    return choose(found, machine, budget, measure_on(machine))


CASES = {
    "600 photographs on a laptop": (images(540, 900), LAPTOP, 30 * MINUTE),
    "50,000 small ones on a GPU": (images(50_000, 32, size=(32, 32)), GPU, 8 * HOUR),
    "1.2 million on eight GPUs": (
        images(1_200_000, 375, classes=1000, decode=0.01),
        EIGHT,
        30 * 24 * HOUR,
    ),
    "200 grey drawings": (images(200, 28, **DRAWINGS), LAPTOP, 30 * MINUTE),
    "one unlabelled folder": (
        images(3_000, 700, test=0, labelled=0, classes=0),
        LAPTOP,
        2 * HOUR,
    ),
    "20,000 photographs on a laptop overnight": (images(20_000, 480), LAPTOP, 10 * HOUR),
}


@pytest.mark.parametrize(
    ("case", "backbone", "view", "stored", "batch", "method", "seeds"),
    [
        ("600 photographs on a laptop", "resnet10-w16", 64, 128, 64, "simclr", 3),
        ("50,000 small ones on a GPU", "resnet10-w32", 32, 32, 256, "simclr", 3),
        ("1.2 million on eight GPUs", "resnet50", 224, 256, 1024, "moco", 3),
        ("200 grey drawings", "resnet10-w16", 20, 28, 32, "simclr", 3),
        ("one unlabelled folder", "resnet10-w32", 64, 128, 64, "simclr", 1),
        ("20,000 photographs on a laptop overnight", "resnet10-w16", 64, 128, 64, "simclr", 3),
    ],
)
def test_what_is_chosen(case, backbone, view, stored, batch, method, seeds):
    plan = chosen(*CASES[case])
    got = (plan.setting.network.backbone, plan.setting.network.view, plan.setting.stored)
    assert got == (backbone, view, stored)
    assert (plan.setting.batch, plan.setting.method, len(plan.seeds)) == (batch, method, seeds)


@pytest.mark.parametrize("case", CASES)
def test_it_is_planned_within_the_budget(case):
    found, machine, budget = CASES[case]
    plan = chosen(found, machine, budget)
    assert plan.seconds <= SHARE * budget
    assert plan.epochs % 2 == 0
    assert 2 <= plan.epochs <= 800
    assert plan.sampler_epochs == plan.epochs // 2
    if plan.epochs < 800:  # two more would be too many
        assert replace(plan, epochs=plan.epochs + 2).seconds > SHARE * budget


@pytest.mark.parametrize("case", CASES)
def test_a_batch_is_at_most_a_quarter_of_the_images(case):
    found, machine, budget = CASES[case]
    setting = chosen(found, machine, budget).setting
    assert setting.batch <= found.train / 4
    assert setting.batch % machine.devices == 0


@pytest.mark.parametrize("train", [32, 33, 63, 64, 100, 255, 256, 1000])
@pytest.mark.parametrize("machine", [LAPTOP, GPU])
def test_few_images_have_small_batches(train, machine):
    batch = chosen(images(train, 300), machine, 4 * HOUR).setting.batch
    assert train / 8 < batch <= train / 4 or batch == (256 if machine.gpu else 64)


def test_too_few_images_are_refused():
    with pytest.raises(DataError, match=r"imagefolder: 31 training images, .* at least 32"):
        chosen(images(31, 300))


def test_a_large_network_is_timed_only_where_the_one_before_it_has_time_to_spare():
    asked = []

    def measure(setting):
        asked.append(setting.network.backbone)
        return measure_on(LAPTOP)(setting)

    choose(images(540, 900), LAPTOP, 60 * MINUTE, measure)
    assert asked == ["resnet10-w16", "resnet10-w32"]
    asked.clear()
    choose(images(540, 900), LAPTOP, 10 * MINUTE, measure)
    assert asked == ["resnet10-w16"]


def test_with_more_time_the_network_is_larger():
    backbones = [chosen(images(540, 900), budget=h * HOUR).setting.network[1] for h in (0.5, 4, 96)]
    assert backbones == ["resnet10-w16", "resnet10-w32", "resnet18"]


def test_with_little_time_there_is_one_seed():
    assert chosen(images(540, 900), budget=30 * MINUTE).seeds == (0, 1, 2)
    short = chosen(images(540, 900), budget=8 * MINUTE)
    assert short.seeds == (0,)
    assert short.epochs > 2


def test_what_there_is_no_time_to_time_is_not_considered():
    known = []

    def measure(setting):
        if known:
            return None
        known.append(setting)
        return measure_on(LAPTOP)(setting)

    plan = choose(images(540, 900), LAPTOP, 96 * HOUR, measure)
    assert plan.setting == known[0]
    assert plan.epochs > 2


def test_a_budget_that_holds_nothing_is_refused_with_the_least():
    with pytest.raises(TooShort, match=r"--budget 1m: too short for 540 ") as refused:
        chosen(images(540, 900), budget=MINUTE)
    assert "\n" not in str(refused.value)
    (least,) = re.findall(r"--budget (\d+)m is the least", str(refused.value))
    assert budget_for(refused.value.least) == f"{least}m"
    plan = chosen(images(540, 900), budget=int(least) * MINUTE)
    assert plan.rows >= fewest_rows(540)
    assert plan.epochs >= refused.value.least.epochs
    fewer = chosen(images(540, 900), budget=(int(least) - 1) * MINUTE)
    assert fewer.rows < fewest_rows(540)


def test_no_more_than_eight_hundred_epochs():
    assert chosen(images(200, 28, **DRAWINGS), budget=100 * HOUR).epochs == 800


@pytest.mark.parametrize("train", [32, 200, 540, 5_000, 50_000, 10**6])
def test_enough_is_more_than_the_fewest(train):
    assert 10 * train <= fewest_rows(train) <= enough(train) / 2
    assert enough(train) <= 800 * train


@pytest.mark.parametrize(
    ("found", "machine", "expected"),
    [
        (images(540, 900), LAPTOP, (128, True)),  # twice a view
        (images(540, 100), LAPTOP, (100, True)),  # those have less
        (images(540, 64), LAPTOP, (64, True)),
        (images(540, 96, size=(96, 96), sure=True), LAPTOP, (96, False)),  # alike, and small
        (images(540, 96, size=(96, 96), sure=False), LAPTOP, (96, True)),  # if all are so
        (images(540, 96, size=(128, 96), sure=False), LAPTOP, (96, False)),  # with their borders
        (images(540, 512, size=(512, 512)), LAPTOP, (128, True)),
        (images(80_000, 900), LAPTOP, (73, True)),  # twice a view would be 3.7 GiB
    ],
)
def test_how_images_are_held(found, machine, expected):
    assert kept(64, found, machine) == expected


def test_what_does_not_fit_the_memory_is_streamed():
    setting = chosen(images(400_000, 900), LAPTOP, 10 * 24 * HOUR).setting
    assert not setting.packed
    assert not setting.resize


def test_streaming_costs_decoding():
    found = images(400_000, 900)
    plan = chosen(found, LAPTOP, 10 * 24 * HOUR)
    slower = replace(plan, images=replace(found, sample=replace(found.sample, decode=0.5)))
    assert slower.seconds > 2 * plan.seconds


def test_pairs_are_mined_among_a_hundred_thousand_at_most():
    plan = chosen(*CASES["1.2 million on eight GPUs"])
    assert plan.mined == MINED
    assert chosen(images(540, 900)).mined == 540


@pytest.mark.parametrize("edge", [8, 12, 23, 28, 32, 50, 63, 64, 95, 96, 300, 4000])
@pytest.mark.parametrize("machine", [LAPTOP, GPU])
def test_views_are_no_larger_than_the_images(edge, machine):
    ladder = networks(images(60_000, edge), machine)
    assert all(8 <= network.view <= edge for network in ladder)
    assert [network.stem for network in ladder] == ["cifar" if edge < 64 else "imagenet"] * len(
        ladder
    )
    views = [network.view for network in ladder]
    assert views == sorted(views)
