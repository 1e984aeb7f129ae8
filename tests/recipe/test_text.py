"""Presets with other leaves: what changes, what stays, and how an edit is told."""

from __future__ import annotations

import pytest

from stages.recipe.text import PRESETS, Leaf, is_sealed, preset, sealed, values_of, with_header
from stages.recipe.text import with_leaves as change
from tests.conftest import YAML_SAFE

NAMES = sorted(f.stem for f in PRESETS.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_else_changes(name):
    text = preset(name)
    leaves = {"sampler.epochs": Leaf(7), "pretrain.epochs": Leaf(9, "as long")}
    changed = change(text, leaves)
    expected = values_of(text)
    expected["sampler"]["epochs"], expected["pretrain"]["epochs"] = 7, 9
    assert values_of(changed) == expected
    pairs = zip(text.splitlines(), changed.splitlines(), strict=True)
    assert sum(old != new for old, new in pairs) == 2


def test_values_are_written_as_yaml_has_them():
    values = {
        "data.limit": None,
        "data.skip_broken": True,
        "data.name": "imagefolder",
        "data.watch": ["imagefolder"],
        "views.mean": (0.1, 0.25, 1e-05),
        "embed.k": 1.0,
        "arms": [],
    }
    read = YAML_SAFE.load(change(preset("digits"), {k: Leaf(v) for k, v in values.items()}))
    assert read["data"]["limit"] is None
    assert read["data"]["skip_broken"] is True
    assert read["data"]["watch"] == ["imagefolder"]
    assert read["views"]["mean"] == [0.1, 0.25, 1e-05]
    assert isinstance(read["embed"]["k"], float)
    assert read["arms"] == []


def test_a_name_is_that_of_its_section():
    read = values_of(change(preset("digits"), {"methods.fnc.temperature": Leaf(0.9)}))
    assert read["methods"]["fnc"]["temperature"] == 0.9
    assert read["methods"]["moco"]["temperature"] == 0.2


@pytest.mark.parametrize(
    ("leaf", "line"),
    [
        (Leaf(16), "  batch_size: 16      # rows per step, over all devices together"),
        (Leaf(16, "few"), "  batch_size: 16      # few"),
        (Leaf(16, ""), "  batch_size: 16"),
        (Leaf(comment="few"), "  batch_size: 64      # few"),
        (Leaf("a" * 30, "long"), f"  batch_size: {'a' * 30}  # long"),
    ],
)
def test_comments(leaf, line):
    assert line in change(preset("digits"), {"sampler.batch_size": leaf}).splitlines()


def test_a_section_may_be_given_another_comment():
    assert "sampler:              # mine" in change(
        preset("digits"), {"sampler": Leaf(comment="mine")}
    )


def test_a_leaf_that_there_is_not_is_a_defect():
    with pytest.raises(KeyError, match=r"sampler\.epoch"):
        change(preset("digits"), {"sampler.epoch": Leaf(1)})


@pytest.mark.parametrize("name", NAMES)
def test_a_header_takes_the_place_of_the_old_one(name):
    text = with_header(preset(name), ["one", "", "two"])
    assert text.startswith("# one\n#\n# two\n\ndata:\n")
    assert values_of(text) == values_of(preset(name))


def test_a_seal_tells_an_edit():
    text = sealed(preset("digits"))
    assert values_of(text) == values_of(preset("digits"))
    assert is_sealed(text)
    assert not is_sealed(text.replace("epochs: 10", "epochs: 11", 1))
    assert not is_sealed(text.replace("no download", "none", 1))
    assert not is_sealed(preset("digits"))
    assert is_sealed(sealed("a: 1\n"))
