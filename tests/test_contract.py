"""dvc.yaml says what the stages do: DVC follows neither Python imports nor what a stage reads.

A stage's deps are its `Inputs` and the code that it imports, its outs are its `Outputs`, and its
params are the leaves of its `Params`. A failure prints the list that belongs into dvc.yaml.
"""

from __future__ import annotations

import dataclasses
import importlib
import re

import pytest
from pydantic import BaseModel

from stages.cli import STAGES
from stages.common.all_params import AllParams
from stages.common.closure import imported_files
from stages.common.param_file import EVALUATIONS, METHODS
from stages.common.params import leaves
from stages.common.plugins import plugins
from stages.common.rounds import Again, From
from tests.conftest import REPOSITORY, YAML_SAFE

PIPELINE = YAML_SAFE.load((REPOSITORY / "dvc.yaml").read_text())["stages"]
PER_ARM = ("combine", "pretrain", "linear_eval", "evaluate")
EVALUATION = "${item.evaluation}"
PER_EVALUATION = ("evaluation_source", "evaluate")
# Modules that a stage finds by a name in params.yaml, as dvc.yaml writes that name.
BY_NAME = {
    "prepare": ("stages.datasets", "stages/datasets/${data.name}.py"),
    "sampler": ("stages.ssl.methods", "stages/ssl/methods/${sampler.method}.py"),
    "pretrain": ("stages.ssl.methods", "stages/ssl/methods/${pretrain.method}.py"),
    "evaluate": ("stages.evaluation", f"stages/evaluation/{EVALUATION}.py"),
}


WATCHED = {"source": {"name": "${data.watch}"}, "checkpoint": {"section": "${watch}"}}
SECTION = "${item.section}"  # of params.yaml that weights are given to
AGAIN = "_again"  # a stage of rounds: the module without it, on the files of a round
START, AT, ROUND, SEED = (
    "${item.round.start}",
    "${item.round.at}",
    "${item.round.name}",
    "${item.seed}",
)


def module(stage: str):
    return importlib.import_module(f"stages.{stage.removesuffix(AGAIN)}")


def paths(stage: str, kind: str) -> set[str]:
    """The stage's `Inputs` or `Outputs` as dvc.yaml writes them."""
    declared = getattr(module(stage), kind, None)
    if declared is None:
        return set()
    of = [EVALUATION] if stage.removesuffix(AGAIN) in PER_EVALUATION else []
    if stage.endswith(AGAIN):
        made = of_a_round(stage, kind, declared, of)
    elif stage == "checkpoint":
        made = declared.of(SECTION)
    else:
        of += ["ARM", 7] if stage in PER_ARM else []
        made = declared.of(*of) if hasattr(declared, "of") else declared()
    found = {str(getattr(made, f.name)) for f in dataclasses.fields(made)}
    found = {p.replace("ARM-7", "${item.arm}-${item.seed}") for p in found}
    return {p.replace("models/scratch", "models/${pretrain.start}") for p in found}


def of_a_round(stage: str, kind: str, declared, of: list[str]):
    """As `main` makes them of the options that the command has."""
    again, origin = Again(ROUND, SEED), From(START, AT)
    if stage == "embed_again" and kind == "Inputs":
        return declared.again(origin, SEED)
    if stage == "pretrain_again" and kind == "Inputs":
        return declared.of(ROUND, SEED, origin.encoder(SEED))
    return declared.again(again) if hasattr(declared, "again") else declared.of(*of, ROUND, SEED)


def listed(stage: str, key: str) -> dict[str, dict]:
    """Entries of one list in dvc.yaml, with their options."""
    entries = PIPELINE[stage].get(key, [])
    return {k: v for e in entries for k, v in (e if isinstance(e, dict) else {e: {}}).items()}


def code(stage: str) -> set[str]:
    stage = stage.removesuffix(AGAIN)
    files = imported_files(f"stages.{stage}")
    if stage in BY_NAME:
        package, written = BY_NAME[stage]
        # Every choice's own imports must be listed, whichever is chosen.
        folder = package.removeprefix("stages.").replace(".", "/")
        for name in plugins(folder):
            files |= imported_files(f"{package}.{name}") - {f"stages/{folder}/{name}.py"}
        files.add(written)
    if stage == "evaluate":  # which finds readers by names within lists, and so has all
        files |= imported_files(*(f"stages.datasets.{name}" for name in plugins("datasets")))
        files = {f for f in files if not f.startswith("stages/datasets/")} | {"stages/datasets"}
    return files


def test_the_modules_of_the_package_are_the_stages():
    modules = {f.stem for f in (REPOSITORY / "stages").glob("*.py")} - {"__init__", "cli"}
    assert modules == {stage.removesuffix(AGAIN) for stage in PIPELINE} == set(STAGES)


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_are_inputs_and_code(stage):
    expected = paths(stage, "Inputs") | code(stage)
    missing, superfluous = (
        expected - set(listed(stage, "deps")),
        set(listed(stage, "deps")) - expected,
    )
    assert not missing, f"{stage} in dvc.yaml lacks deps:\n" + "\n".join(
        f"      - {p}" for p in sorted(missing)
    )
    assert not superfluous, f"{stage} in dvc.yaml has deps that it does not read: {superfluous}"


@pytest.mark.parametrize("stage", PIPELINE)
def test_outs_are_outputs(stage):
    outs = {k: v for key in ("outs", "metrics", "plots") for k, v in listed(stage, key).items()}
    assert set(outs) == paths(stage, "Outputs")
    for key in ("metrics", "plots"):
        for path, options in listed(stage, key).items():
            assert options["cache"] is False, f"{path} is committed, so DVC must not cache it"
    for path in listed(stage, "outs"):
        assert path.startswith(("data/", "models/")) or path == "reports/index.html"


@pytest.mark.parametrize("stage", PIPELINE)
def test_params_are_the_leaves_that_are_read(stage):
    declared = listed(stage, "params")
    all_leaves = leaves(AllParams) - {"methods"}
    # Blocks, which the evaluation's, or the method's, own file checks.
    of_an_evaluation = stage.removesuffix(AGAIN) in PER_EVALUATION
    assert declared.pop(EVALUATIONS, None) == ([EVALUATION] if of_an_evaluation else None)
    blocks = declared.pop(METHODS, None)
    expanded = {
        leaf for key in declared for leaf in all_leaves if leaf == key or leaf.startswith(f"{key}.")
    }
    read = leaves(module(stage).Params)
    section = "sampler" if stage == "sampler" else "pretrain"  # of pretrain_again, too
    assert blocks == ([f"${{{section}.method}}"] if "methods" in read else None)
    read.discard("methods")
    assert expanded == read
    matched = {
        key for key in declared if any(e == key or e.startswith(f"{key}.") for e in expanded)
    }
    assert declared.keys() == matched


@pytest.mark.parametrize("stage", PIPELINE)
def test_commands(stage):
    matrix, arguments = {}, []
    if stage.removesuffix(AGAIN) in PER_EVALUATION:
        matrix["evaluation"] = "${evaluations}"
        arguments.append(f"--evaluation {EVALUATION}")
    if stage.endswith(AGAIN):
        arguments += [f"--{'arm' if of_an_arm(stage) else 'round'} {ROUND}", *MORE[stage]]
        matrix |= {"round": "${rounds}", "seed": "${seeds}"}
    elif stage in PER_ARM:
        arguments.append("--arm ${item.arm} --seed ${item.seed}")
        matrix |= {"arm": "${arms}", "seed": "${seeds}"}
    elif stage in WATCHED:
        matrix |= WATCHED[stage]
    if stage == "checkpoint":
        arguments.append(SECTION)
    command = " ".join(["python -m", f"stages.{stage.removesuffix(AGAIN)}", *arguments])
    assert PIPELINE[stage]["cmd"] == command
    assert PIPELINE[stage].get("matrix", {}) == matrix


def of_an_arm(stage: str) -> bool:
    return stage.removesuffix(AGAIN) in PER_ARM


FROM = f"--start {START} --at {AT}"
MORE = {
    "embed_again": [f"--seed {SEED}", FROM],
    "mine_again": [f"--seed {SEED}", "${item.round.sepp}"],
    "combine_again": [f"--seed {SEED}", "--again"],
    "pretrain_again": [f"--seed {SEED}", FROM],
    "linear_eval_again": [f"--seed {SEED}"],
    "evaluate_again": [f"--seed {SEED}"],
}


def test_no_leaf_has_a_name_that_dvc_overlooks():
    """DVC misses changes of a parameter called size or nfiles inside a tracked group."""
    assert not {leaf for leaf in leaves(AllParams) if re.search(r"(^|\.)(size|nfiles)$", leaf)}


def test_every_parameter_is_read_by_some_stage():
    read = {leaf for stage in PIPELINE for leaf in leaves(module(stage).Params)}
    matrix = {"arms", "seeds", "rounds", "watch", "evaluations"}
    assert read | matrix == leaves(AllParams) - set(plugins("evaluation"))


def test_every_model_forbids_unknown_keys():
    for name, field in AllParams.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            assert kind.model_config["extra"] == "forbid", name
