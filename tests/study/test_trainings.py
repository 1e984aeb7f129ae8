"""Which trainings are the same in two experiments: as DVC would find it."""

from __future__ import annotations

import pytest

from stages.study.trainings import IMAGES, distinct, images, total, trainings
from tests.conftest import REPOSITORY, YAML_SAFE


def params(preset: str = "characters", **changes) -> dict:
    found = YAML_SAFE.load((REPOSITORY / f"stages/presets/{preset}.yaml").read_text())
    found |= {"seeds": [0]}
    for name, value in changes.items():
        section, _, leaf = name.partition("__")
        if leaf:
            found[section][leaf] = value
        else:
            found[section] = value
    return found


def differing(one: dict, other: dict) -> set[str]:
    """The stages that both have, whose trainings are not the same."""
    first, second = trainings(one, None), trainings(other, None)
    return {name for name in first.keys() & second.keys() if first[name].key != second[name].key}


SEPP = {"pretrain@sepp-0"}
ALL = {"sampler", "pretrain@vanilla-0", *SEPP}


@pytest.mark.parametrize(
    ("change", "others"),
    [
        ({"sepp__min": 0.95}, SEPP),
        ({"embed__layer": "backbone"}, SEPP),
        ({"seed": 1}, ALL),
        ({"data__limit": 500}, ALL),
        ({"pretrain__precision": "bf16"}, {"pretrain@vanilla-0", *SEPP}),
        ({"sampler__precision": "bf16"}, ALL),  # a warm start
        ({"linear_eval__lr": 1.0}, set()),
        ({"arms": ["vanilla", "sepp", "oracle"]}, set()),
    ],
)
def test_what_another_value_trains_anew(change, others):
    assert differing(params(), params(**change)) == others


def test_from_scratch_vanilla_does_not_depend_on_the_sampler():
    scratch = {"pretrain__start": "scratch", "sampler__of_epochs": None}
    one, other = params(**scratch), params(**scratch, sampler__method="moco")
    assert differing(one, other) == {"sampler", *SEPP}


def test_other_code_trains_all_anew():
    first, second = (trainings(params(), None, {"simclr": code}) for code in ("a", "b"))
    assert all(first[name].key != second[name].key for name in ALL)


def test_rounds_follow_what_they_start_from():
    rounds = [
        {"name": "round2", "start": "sepp", "at": 33, "sepp": {}},
        {"name": "round3", "start": "round2", "at": 36, "sepp": {}},
    ]
    changed = [rounds[0], {**rounds[1], "sepp": {"min": 0.5}}]
    assert differing(params(rounds=rounds), params(rounds=changed)) == {"pretrain_again@round1-0"}
    changed = [{**rounds[0], "sepp": {"min": 0.5}}, rounds[1]]
    both = {"pretrain_again@round0-0", "pretrain_again@round1-0"}
    assert differing(params(rounds=rounds), params(rounds=changed)) == both
    epochs = {
        name: training.epochs for name, training in trainings(params(rounds=rounds), None).items()
    }
    assert epochs == {
        "sampler": 30, "pretrain@vanilla-0": 10, "pretrain@sepp-0": 10,
        "pretrain_again@round0-0": 7, "pretrain_again@round1-0": 4,
    }  # fmt: skip


def test_only_what_is_run_counts():
    assert set(trainings(params(), "mine")) == {"sampler"}
    given = params("digits", sampler__checkpoint="models/x", watch=["sampler"])
    assert "sampler" not in trainings(given, None)


def test_rows_are_epochs_times_images():
    found = trainings(params("digits"), None)
    assert total(distinct(found.values())) == 1437 * (10 + 5 + 5)
    assert total(trainings(params("digits", data__limit=100), None).values()) == 100 * 20
    unknown = params("stl10", data__name="imagefolder")
    assert total(trainings(unknown, None).values()) is None
    assert images({"name": "parquet", "limit": 300}) == 300


@pytest.mark.parametrize("name", ["digits", "characters", "characters_validation"])
def test_sizes_of_data_sets_are_true(name, tmp_path):
    from stages.datasets import read

    (train,) = (split for split in read(name, tmp_path).splits if split.name == "train")
    assert len(train.labels) == IMAGES[name]
