"""params.yaml: what loads, what a stage sees of it, and the line that each mistake gets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages import combine, mine
from stages.common.errors import ParamError
from stages.common.params import StageParams, leaves, load_all
from stages.common.sepp_sections import SeppMining, SeppRows
from tests.conftest import REPOSITORY, load_preset, write_params, write_recipe

PRESETS = sorted((REPOSITORY / "stages/presets").glob("*.yaml"))
WHOLE_FILE = "`sepp preset NAME` writes a whole file"


def message(path: Path) -> str:
    with pytest.raises(ParamError) as error:
        load_all(path)
    return str(error.value)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_load(path, tmp_path):
    params = load_all(write_recipe(tmp_path, path.read_text()))
    assert params == load_preset(path.stem)
    assert params.data.name == path.stem


def test_a_stage_sees_its_leaves_alone(tmp_path):
    path = write_params(tmp_path / "params.yaml", {"sepp.lambda": 0.5})
    mining, rows = mine.Params.load(path), combine.Params.load(path)
    assert mining.model_dump() == {
        "seed": 0,
        "sepp": {
            "transform": "none",
            "shrinkage": 0.03,
            "neighbours": 0,
            "pairs_per_image": None,
            "min": 0.97,
            "max": 0.99,
            "engine": "auto",
            "memory": 2.0,
            "max_per_anchor": None,
            "max_pairs": None,
        },
    }
    assert type(mining.sepp) is SeppMining
    assert rows.model_dump() == {"sepp": {"lambda_": 0.5, "ordered": False, "mask_partners": False}}
    assert type(rows.sepp) is SeppRows
    assert leaves(combine.Params) == {"sepp.lambda", "sepp.ordered", "sepp.mask_partners"}


def test_a_stage_checks_what_it_does_not_read(tmp_path):
    class Params(StageParams):
        seed: int

    path = write_params(tmp_path / "params.yaml", {"linear_eval.epochs": 0})
    with pytest.raises(ParamError, match=r"linear_eval\.epochs: 0: .* greater than or equal to 1"):
        Params.load(path)


# Changed leaves; what follows the file's name; what else the line says.
MISTAKES: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing key": ({"sepp.min": ...}, "sepp.min: is missing", WHOLE_FILE),
    "missing section": ({"views": ...}, "views: is missing", WHOLE_FILE),
    "unknown key": ({"epochs": 3}, "epochs: is not a parameter", "check its spelling"),
    "unknown nested key": ({"sepp.minn": 0.9}, "sepp.minn: is not a parameter", "spelling"),
    "text for a number": ({"sepp.min": "high"}, "sepp.min: 'high': ", "valid number"),
    "fraction for a count": ({"sampler.epochs": 1.5}, "sampler.epochs: 1.5: ", "valid integer"),
    "number for a text": ({"data.name": 3}, "data.name: 3: ", "valid string"),
    "bool for a number": ({"seed": True}, "seed: True: ", "valid integer"),
    "text for a number in a list": ({"seeds": ["1"]}, "seeds.0: '1': ", "valid integer"),
    "value that the message holds": (
        {"linear_eval.milestones": ["a"]},
        "linear_eval.milestones.0: 'a': ",
        "valid integer",
    ),
    "number for a section": ({"sepp": 3}, "sepp: 3: should be a block", WHOLE_FILE),
    "infinite rate": ({"linear_eval.lr": float("inf")}, "linear_eval.lr: inf: ", "finite"),
    "not a number": ({"sepp.min": float("nan")}, "sepp.min: nan: ", "finite"),
    "min above max": (
        {"sepp.min": 0.99, "sepp.max": 0.97},
        "sepp: min 0.99 is above max 0.97",
        "lower min, or raise max",
    ),
    "min above 1": ({"sepp.min": 1.5}, "sepp.min: 1.5: ", "less than or equal to 1"),
    "max below -1": ({"sepp.max": -2}, "sepp.max: -2: ", "greater than or equal to -1"),
    "unknown method": (
        {"pretrain.method": "mocoo"},
        "pretrain.method: unknown method 'mocoo'",
        "there are barlow_twins",
    ),
    "method without its block": (
        {"methods.moco": ...},
        "methods: methods.yaml has no block moco, which sampler.method names",
        "`sepp preset NAME` writes all",
    ),
    "unknown evaluation": (
        {"evaluations": ["semi"]},
        "evaluations: unknown evaluation 'semi'",
        "there are detection, semi_supervised, transfer",
    ),
    "evaluation without its block": (
        {"evaluations": ["transfer"], "transfer": ...},
        "file: evaluations.yaml has no block transfer, which evaluations names",
        "`transfer: {}` takes the defaults",
    ),
    "evaluation named twice": (
        {"evaluations": ["transfer", "transfer"]},
        "evaluations: ['transfer', 'transfer'] names one twice",
        "remove the repeat",
    ),
    "block of what is no evaluation": ({"transfers": {}}, "transfers: is not a", "spelling"),
    "unknown data set": (
        {"data.name": "digitz"},
        "data.name: unknown data set 'digitz'",
        "there are characters, characters_validation, cifar10, digits",
    ),
    "unknown arm": ({"arms": ["vanilla", "spp"]}, "arms.1: 'spp': ", "'sepp', 'duplicate'"),
    "k of 0": ({"embed.k": 0}, "embed.k: 0: ", "a count of at least 1"),
    "k of -1": ({"embed.k": -1}, "embed.k: -1: ", "a count of at least 1"),
    "k of 0.0": ({"embed.k": 0.0}, "embed.k: 0.0: ", "a fraction in (0.0, 1.0]"),
    "k of 1.5": ({"embed.k": 1.5}, "embed.k: 1.5: ", "a fraction in (0.0, 1.0]"),
    "watch of another set": (
        {"data.name": "cifar10", "data.watch": ["stl10"]},
        "data: data.watch is ['stl10']",
        "set it to ['cifar10']",
    ),
    "watch of digits": ({"data.watch": ["digits"]}, "data: data.watch is ", "set it to []"),
    "watch without weights": (
        {"watch": ["sampler"]},
        "file: watch is [sampler], but no weights are given",
        "set it to []",
    ),
    "checkpoint without its watch": (
        {"sampler.checkpoint": "~/moco_v2.pth.tar"},
        "file: watch is [], but sampler.checkpoint is ~/moco_v2.pth.tar",
        "set it to [sampler]",
    ),
    "weights of both without their watch": (
        {"sampler.weights": "a.pth", "pretrain.weights": "b.pth", "watch": ["sampler"]},
        "file: watch is [sampler], but sampler.weights is a.pth and pretrain.weights is b.pth",
        "set it to [sampler, pretrain]",
    ),
    "watch of a name": (
        {"sampler.checkpoint": "ResNet18_Weights.IMAGENET1K_V1", "watch": ["sampler"]},
        "file: watch is [sampler], but sampler.checkpoint is ResNet18_Weights.IMAGENET1K_V1",
        "set it to []",
    ),
    "weights beside a checkpoint": (
        {"sampler.checkpoint": "a.pth", "sampler.weights": "b.pth", "watch": ["sampler"]},
        "sampler: checkpoint is a.pth, which is the sampler without any training, but weights",
        "set one of them to null",
    ),
    "empty checkpoint": ({"sampler.checkpoint": ""}, "sampler.checkpoint: '': ", "1 character"),
    "seeds twice": ({"seeds": [1, 1]}, "seeds: [1, 1] names one twice", "remove the repeat"),
    "arms twice": (
        {"arms": ["sepp", "sepp"]},
        "arms: ['sepp', 'sepp'] names one twice",
        "remove the repeat",
    ),
    "no seeds": ({"seeds": []}, "seeds: []: ", "at least 1 item"),
    "no arms": ({"arms": []}, "arms: []: ", "at least 1 item"),
    "batch of 1": ({"sampler.batch_size": 1}, "sampler.batch_size: 1: ", "or equal to 2"),
    "std of 0": ({"views.std": [0, 1, 1]}, "views: std (0.0, 1.0, 1.0): ", "above 0"),
    "crop of nothing": ({"views.crop_area": [0, 1]}, "views.crop_area: 0.0, 1.0: ", "0 < first"),
    "crop ratio upside down": (
        {"views.crop_ratio": [1.5, 0.5]},
        "views.crop_ratio: 1.5, 0.5: ",
        "first <= second",
    ),
    "solarize above 1": ({"views.solarize": 1.2}, "views.solarize: 1.2: ", "or equal to 1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(tmp_path, name):
    changes, start, remedy = MISTAKES[name]
    path = write_params(tmp_path / "params.yaml", changes)
    text = message(path)
    assert text.startswith(f"{path}: {start}")
    assert remedy in text
    assert "\n" not in text
    assert "more)" not in text  # one mistake is told as one


def test_of_several_mistakes_the_others_are_counted(tmp_path):
    path = write_params(tmp_path / "params.yaml", {"seed": -1, "sepp.min": 2, "seeds": []})
    assert message(path).endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"sepp: [1", "is not YAML: "),
        (b"seed: 1\nseed: 2\n", 'duplicate key "seed"'),
        (b"\tseed: 1", "is not YAML: "),
        (b"seed: !!python/object:os.system x", "is not YAML: "),
        (b"\xff\xfe\x80", "is not YAML: "),
        (b"", "None: should be a block"),
        (b"- 1", "[1]: should be a block"),
    ],
)
def test_files_that_are_no_params(tmp_path, content, said):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    text = message(path)
    assert text.startswith(f"{path}: file: ")
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["params.yaml", "methods.yaml", "evaluations.yaml"])
def test_a_missing_file(tmp_path, name):
    path = write_params(tmp_path / "params.yaml", {})
    (tmp_path / name).unlink()
    told = message(path)
    assert told == f"{tmp_path / name}: file: is missing; `sepp preset characters` writes one"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("methods.yaml", "mocoo: {}", "mocoo: unknown method 'mocoo'; there are barlow_twins"),
        ("methods.yaml", "moco: 3", "moco: 3: should be a block of parameters; `sepp preset NAME`"),
        ("methods.yaml", "", "file: None: should be a block of parameters"),
        ("evaluations.yaml", "semi: {}", "semi: unknown evaluation 'semi'; there are detection, "),
        ("evaluations.yaml", "transfer: 3", "transfer: 3: should be a block of parameters"),
        ("params.yaml", "methods: {}", "methods: belongs into methods.yaml, beside it; remove it"),
        ("params.yaml", "transfer: {}", "transfer: belongs into evaluations.yaml, beside it"),
    ],
)
def test_blocks_in_the_wrong_place_or_of_nothing(tmp_path, name, content, said):
    path = write_params(tmp_path / "params.yaml", {})
    (tmp_path / name).write_text(content)
    assert message(path).startswith(f"{tmp_path / name}: {said}")


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "0.0001", "1.0e-4"])
def test_exponents_are_floats(tmp_path, written):
    """YAML 1.1 takes 1e-4 for text; so would an optimiser's weight decay become one."""
    text = PRESETS[0].read_text()
    assert "  lr: 10.0" in text
    path = write_recipe(tmp_path, text.replace("  lr: 10.0", f"  lr: {written}"))
    assert load_all(path).linear_eval.lr == 1e-4


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_lists_filled_and_emptied_leave_a_readable_file(path):
    """As `dvc exp run -S` does: ruamel puts comments behind a key where they break what follows."""
    yaml = YAML()
    text = path.read_text()
    for rounds, handover in (([{"name": "round2", "sepp": {}}], [3]), ([], [])):
        values = yaml.load(text)
        values["rounds"], values["pretrain"]["handover"] = rounds, handover
        stream = io.StringIO()
        yaml.dump(values, stream)
        text = stream.getvalue()
        assert YAML(typ="safe").load(text) == values


def test_counts_and_fractions_stay_apart(tmp_path):
    """K = 1 is one image, K = 1.0 all of them."""
    path = write_params(tmp_path / "params.yaml", {"embed.k": 1})
    assert type(load_all(path).embed.k) is int
    path = write_params(tmp_path / "params.yaml", {"embed.k": 1.0})
    assert type(load_all(path).embed.k) is float
