"""From a study's YAML to experiments."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.common.all_params import AllParams
from stages.common.errors import SeppError
from stages.study.plan import Choice, Plan, plan
from stages.study.spec import Study, find, names, read
from stages.study.trainings import distinct, total
from tests.conftest import YAML_SAFE

SMALL = {"title": "T", "about": "A", "preset": "digits", "columns": ["pairs", "linear"]}


def study(**more) -> Study:
    return Study.model_validate({**SMALL, **more})


def planned(choice: Choice = Choice(), **more) -> Plan:  # noqa: B008
    return plan("made", study(**more), choice)


def leaf(params: dict, name: str):
    for part in name.split("."):
        params = params[part]
    return params


def test_a_grid_is_all_combinations_with_each_seed():
    found = planned(
        set={"arms": ["vanilla", "sepp", "oracle"], "sepp.max": 1.0},
        grid={
            "sepp.min": [0.9, 0.95],
            "score": {"plain": {}, "white": {"sepp.transform": "whiten", "sepp.max": 0.98}},
        },
        seeds=[0, 3],
    )
    told = [(one.row, one.seed, one.params["sepp"]["max"]) for one in found.experiments]
    rows = [("0.9-plain", 1.0), ("0.9-white", 0.98), ("0.95-plain", 1.0), ("0.95-white", 0.98)]
    assert told == [(row, seed, highest) for seed in (0, 3) for row, highest in rows]
    last = found.experiments[-1]
    assert last.labels == {"sepp.min": "0.95", "score": "white"}
    assert (last.params["seed"], last.params["seeds"]) == (3, [3])
    assert last.params["sepp"]["transform"] == "whiten"
    assert last.arms == ["vanilla", "sepp", "oracle"]
    assert last.params["pretrain"]["epochs"] == 5  # the preset's


def test_without_a_grid_there_is_one_row():
    (only,) = planned().experiments
    assert only.row == "all"
    assert only.name.startswith("made-s0-")


def test_a_name_says_which_experiment_it_is():
    grid = {"sepp.min": [0.9, 0.95]}
    first, second = (one.name for one in planned(grid=grid).experiments)
    assert first != second
    assert [one.name for one in planned(grid=grid).experiments] == [first, second]
    assert first.startswith("made-0.9-s0-")
    # Other values have another name; what nothing reads has not.
    assert planned(grid=grid, set={"sepp.max": 1.0}).experiments[0].name != first
    unread = {"methods.byol.momentum": 0.5}
    assert planned(grid=grid, set=unread).experiments[0].name == first
    # 1 and 1.0 are two values: a count and a fraction.
    counts = [planned(set={"embed.k": k}).experiments[0].name for k in (1, 1.0)]
    assert counts[0] != counts[1]
    odd = planned(grid={"a b": {"x/y: é": {}, "..z": {}}}).experiments
    assert all(set(one.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-") for one in odd)


def test_params_are_the_presets_text_with_what_was_changed():
    rounds = [{"name": "round2", "start": "sepp", "at": 3, "sepp": {"min": 0.9}}]
    changes = {"rounds": rounds, "pretrain.handover": [3], "methods.byol.views": {"blur": 0.5}}
    (only,) = planned(set=changes).experiments
    written = {name: YAML_SAFE.load(text) for name, text in only.files().items()}
    blocks = {"methods": written["methods.yaml"], **written["evaluations.yaml"]}
    assert written["params.yaml"] | blocks == only.params
    text = only.files()["params.yaml"]
    assert "# a pair's cosine similarity lies in [min, max], both inclusive" in text
    assert "# keys that serve as negatives" in only.files()["methods.yaml"]
    assert only.params["rounds"] == rounds


def test_a_preset_may_be_a_choice():
    grid = {"data": {"d": {}, "c": {"preset": "characters"}}}
    first, second = planned(grid=grid, set={"sampler.epochs": 20}).experiments
    assert [one.params["data"]["name"] for one in (first, second)] == ["digits", "characters"]
    assert [one.params["sampler"]["epochs"] for one in (first, second)] == [20, 20]


def test_the_same_question_on_another_preset():
    of = {
        "set": {"sampler.epochs": 7},
        "grid": {"sepp.min": [0.5]},
        "also": {"characters": {"set": {"sepp.max": 0.99}, "seeds": [0, 1]}},
    }
    there = plan("made", study(**of), Choice(preset="characters"))
    assert there.moved
    assert [one.seed for one in there.experiments] == [0, 1]
    first = there.experiments[0]
    assert first.params["data"]["name"] == "characters"
    assert first.params["sampler"]["epochs"] == 30  # the study's own change is not of this preset
    assert first.params["sepp"]["min"] == 0.5
    assert first.name.startswith("made-characters-0.5-s0-")
    with pytest.raises(SeppError, match=r"--preset cifar10: .* it has digits, characters"):
        plan("made", study(**of), Choice(preset="cifar10"))
    assert not plan("made", study(**of)).moved


def test_other_data_and_seeds():
    found = planned(Choice(data="parquet", seeds=[4, 5]))
    assert found.name == "made-parquet-seeds-4-5"  # whose files are not the study's own
    assert found.experiments[0].name.startswith("made-parquet-s4-")
    assert [one.seed for one in found.experiments] == [4, 5]
    data = found.experiments[0].params["data"]
    assert (data["name"], data["watch"]) == ("parquet", ["parquet"])
    assert found.command == "sepp study made --data parquet --seeds 4,5"
    # Of photographs the recipe's statistics are kept, of a set with a preset they are its own.
    of_digits, of_characters = (
        planned(Choice(data=data)).experiments[0].params["views"] for data in (None, "characters")
    )
    assert found.experiments[0].params["views"]["mean"] == of_digits["mean"]
    assert of_characters["mean"] == [0.077] * 3
    assert of_characters["image_size"] == of_digits["image_size"]


def test_data_that_are_those_of_one_row_alone_are_others(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    table4 = find("table4")[1]
    moved = plan("table4", table4, Choice(data="cifar10"))  # also where the row was of STL-10
    assert (moved.moved, moved.name) == (True, "table4-cifar10")
    table2 = plan("table2", find("table2")[1], Choice(data="imagenet"))
    assert (table2.moved, table2.name) == (False, "table2")


def test_a_rehearsals_params_say_so():
    (only,) = planned(Choice(scale=0.1)).experiments
    text = only.files()["params.yaml"]
    assert text.startswith("# A rehearsal, at scale 0.1, of made.\n\ndata:")


def test_the_command_is_what_was_typed():
    assert (
        plan("mine", study(), asked="my own/mine.yaml").command == "sepp study 'my own/mine.yaml'"
    )


@pytest.mark.parametrize("scale", [None, 0.1])
@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"set": {"sepp.mim": 1}}, "made: sepp.mim is no parameter .*did you mean sepp.min"),
        ({"set": {"nope.at.all": 1}}, "made: nope.at.all is no parameter"),
        ({"set": {"preset": "imagnet"}}, "'imagnet' is no preset; there are characters"),
        ({"grid": {"sepp.min": [0.9, 1.5]}}, r"made \(1\.5\): sepp\.min: 1\.5"),
        ({"set": {"sampler.epochs": "x"}}, "made: sampler.epochs"),
        (
            {"grid": {"a": {"x": {"sepp.min": 0.9}}, "b": {"y": {"sepp.min": 0.8}}}},
            "b: y sets sepp.min, as another axis does",
        ),
        ({"set": {"evaluations": ["nope"]}}, "made: evaluations.*nope"),
        (
            {"set": {"rounds": [{"name": "again", "start": "sepp", "at": 3, "sepp": {}}]}},
            "made: .*at is 3, but pretrain.handover",
        ),
        (
            {"grid": {"a": {"1": {}, "1-2": {}}, "b": {"2-3": {}, "3": {"sepp.min": 0.8}}}},
            "made: two rows are called 1-2-3",
        ),
        ({"arms": ["spp"]}, "made: arms: no row has spp; there are sepp, vanilla"),
        (
            {"paper": {"source": "x", "values": {"linear": {"alll": 7}}}},
            r"made: paper\.values\.linear: alll is no row, and no arm of one; rows are all",
        ),
        (
            {"paper": {"source": "x", "values": {"linear": {"all": {"vanila": 7}}}}},
            r"made: paper\.values\.linear: vanila is no row",
        ),
    ],
)
def test_mistakes_in_an_override_are_one_line(more, told, scale):
    with pytest.raises(SeppError, match=told) as raised:
        planned(Choice(scale=scale), **more)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("scale", [0.0, 1.0, -1, 20])
def test_a_scale_is_a_share(scale):
    with pytest.raises(SeppError, match="between 0 and 1"):
        planned(Choice(scale=scale))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("titel: x", r"titel: is nothing that a study has; there are .*title.* \(and 4 more\)"),
        ("title: x", "about: is missing"),
        ("[]", "file: "),
        ("a: [", "is not YAML"),
        ("{title: x, about: y, preset: digits, columns: [lineer]}", "'lineer' is no column"),
        ("{title: x, about: y, preset: digits, columns: [linear], until: mine}", "needs trained"),
        (
            "{title: x, about: y, preset: digits, columns: [pairs], seeds: [1, 1]}",
            "names one twice",
        ),
        ("{title: x, about: y, preset: digits, columns: [pairs], set: {seed: 1}}", "seed is set"),
        (
            "{title: x, about: y, preset: digits, columns: [pairs], grid: {a: []}}",
            "a: has no value",
        ),
        (
            "{title: x, about: y, preset: digits, columns: [pairs], grid: {arm: [1]}}",
            "arm: a column of the table is called so",
        ),
    ],
)
def test_mistakes_in_a_file_are_one_line(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SeppError, match=told) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_studies_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("table2")[1].preset == "imagenet"
    with pytest.raises(SeppError, match="did you mean table2"):
        find("tabel2")
    with pytest.raises(SeppError, match=r"other/nope\.yaml: no such file"):
        find("other/nope.yaml")
    text = "{title: Mine, about: y, preset: digits, columns: [pairs]}"
    for file in (Path("studies/mine.yaml"), Path("other/theirs.yaml")):
        file.parent.mkdir()
        file.write_text(text)
    assert "mine" in names()
    assert find("mine")[1].title == "Mine"
    assert find("other/theirs.yaml")[0] == "theirs"


EXPECTED = {
    *(f"table{number}" for number in range(1, 9)),
    *("thresholds", "samplers", "lambda", "scores", "rounds", "false_negatives", "multi_positive"),
    "photographs",
}


def test_the_package_has_its_studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert set(names()) == EXPECTED


def shipped(scale: float | None) -> list[tuple[str, Choice]]:
    presets = {name: [None, *find(name)[1].also] for name in EXPECTED}
    return [(n, Choice(scale=scale, preset=p)) for n in sorted(EXPECTED) for p in presets[n]]


@pytest.mark.parametrize(
    ("name", "choice"),
    [*shipped(None), *shipped(0.02)],
    ids=lambda x: f"{x.scale}-{x.preset}" if isinstance(x, Choice) else x,
)
def test_every_study_of_the_package_is_of_valid_params(name, choice):
    """Of the whole file, as the first stage checks it, and of each method, which needs torch."""
    from stages.ssl.methods import find_method

    found = plan(name, find(name)[1], choice)  # which checks the whole of each
    assert len({one.name for one in found.experiments}) == len(found.experiments)
    for one in found.experiments:
        everything = AllParams.model_validate(one.params)
        for section in (everything.sampler, everything.pretrain):
            method = find_method(section.method)
            block = method.Params.model_validate(one.params["methods"][section.method])
            keys = method.keys_per_row(block)
            assert not keys or keys * section.batch_size <= block.queue
        if one.params["sepp"]["mask_partners"]:
            assert find_method(everything.pretrain.method).has_negatives
        assert not choice.scale or one.name.startswith("rehearsal-")


def test_papers_numbers_belong_to_rows_that_there_are():
    for name in sorted(EXPECTED):
        _, own = find(name)
        if not own.paper:
            continue
        rows = {one.row: one.arms for one in plan(name, own).experiments}
        for column, of in own.paper.values.items():
            for label, value in of.items():
                arms = rows[str(label)]
                assert column in own.columns
                assert set(value) <= set(arms) if isinstance(value, dict) else arms == [None]


def test_a_rehearsal_is_small():
    """So that all can be rehearsed: 80 experiments, the largest of them of 25,000 images."""
    every = []
    for name in sorted(EXPECTED):
        found = plan(name, find(name)[1], Choice(scale=0.02))
        every += found.experiments
        assert found.name == f"rehearsal-{name}"
        assert {one.seed for one in found.experiments} == {find(name)[1].seeds[0]}
    assert len(every) < 100
    of_digits = planned(Choice(scale=0.02)).experiments
    assert total(distinct(t for one in of_digits for t in one.trainings().values())) < 5_000
