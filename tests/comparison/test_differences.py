"""Which params differ, and what they are called."""

from __future__ import annotations

import pytest

from stages.comparison.differences import flatten, settings, short_names, value_text

ONE = {
    "sampler": {"method": "moco", "epochs": 3},
    "pretrain": {"method": "moco", "epochs": 3},
    "sepp": {"min": 0.9, "max_pairs": None},
    "methods": {"moco": {"queue": 64}, "byol": {"momentum": 0.9}},
}


def changed(**sections: dict) -> dict:
    return {name: {**block, **sections.get(name, {})} for name, block in ONE.items()}


def of(*params: dict) -> list[list[str]]:
    return settings([flatten(one) for one in params])


def test_leaves_by_dotted_name():
    nested = {"a": {"b": {"c": 1}, "none": {}}, "list": [{"d": 2}]}
    assert flatten(nested) == {"a.b.c": 1, "a.none": {}, "list": [{"d": 2}]}


def test_only_what_differs_is_named_all_of_it_in_the_first_row():
    low = changed(sepp={"min": 0.8})
    longer = changed(pretrain={"epochs": 9})
    assert of(ONE, low, longer, ONE) == [
        ["pretrain.epochs=3", "min=0.9"],
        ["min=0.8"],
        ["pretrain.epochs=9"],
        [],
    ]
    assert of(ONE, ONE) == [[], []]
    assert of(ONE) == [[]]


def test_types_count():
    """embed.k: 1 is one image, and 1.0 all of them."""
    one, whole = ({**ONE, "embed": {"k": k}} for k in (1, 1.0))
    assert of(one, whole) == [["k=1"], ["k=1.0"]]


def test_blocks_of_methods_count_where_they_are_chosen():
    other = changed(methods={"byol": {"momentum": 0.5}})
    assert of(ONE, other) == [[], []]
    byol = {**other, "pretrain": {"method": "byol", "epochs": 3}}
    assert of(ONE, byol) == [["pretrain.method=moco"], ["pretrain.method=byol"]]
    again = {**ONE, "pretrain": {"method": "byol", "epochs": 3}}
    assert of(ONE, byol, again) == [
        ["pretrain.method=moco"],
        ["pretrain.method=byol", "momentum=0.5"],
        ["pretrain.method=byol", "momentum=0.9"],
    ]


def test_what_another_version_lacks_is_a_dash():
    older = {name: block for name, block in ONE.items() if name != "sepp"}
    assert of(ONE, older) == [["min=0.9", "max_pairs=null"], ["min=–", "max_pairs=–"]]
    assert of(older, ONE) == [["min=–", "max_pairs=–"], ["min=0.9", "max_pairs=null"]]


def test_names_are_as_short_as_they_are_clear():
    among = ["seed", "data.seed", "views.blur", "methods.m.views.blur", "a.b.c", "x.b.c", "a.max"]
    assert short_names(among, among) == {
        "seed": "seed",  # in full, as it is the end of another
        "data.seed": "data.seed",
        "views.blur": "views.blur",
        "methods.m.views.blur": "m.views.blur",
        "a.b.c": "a.b.c",
        "x.b.c": "x.b.c",
        "a.max": "max",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0.5, "0.5"),
        ("moco", "moco"),
        ([1, [2.0]], "[1, [2.0]]"),
        ({}, "{}"),
        ([{"name": "round2", "sepp": {"min": None}}], "[{name: round2, sepp: {min: null}}]"),
    ],
)
def test_values_are_as_in_params_yaml(value, text):
    assert value_text(value) == text
