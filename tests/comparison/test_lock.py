"""Whether a revision's results are those of its params."""

from __future__ import annotations

from stages.comparison.differences import leaves_of
from stages.comparison.lock import FILE, STAGE, outdated, params_of
from tests.conftest import REPOSITORY, YAML_SAFE

PARAMS_NOW = {
    "seed": 0, "sepp.min": 0.9, "sepp.max": 1.0, "pretrain.epochs": 40, "arms": ["vanilla", "sepp"],
    "seeds": [0], "rounds": [{"name": "round2"}],
}  # fmt: skip


def stage(name: str, files: dict[str, str], **params: object) -> str:
    """As DVC writes it; dots in names of params are written as __."""
    lines = [f"  {name}:", f"    cmd: python -m stages.{name.split('@')[0]}", "    deps:"]
    for path, digest in files.items():
        lines += [f"    - path: {path}", "      hash: md5", f"      md5: {digest}", "      size: 3"]
    if params:
        lines += ["    params:", "      params.yaml:"]
        lines += [f"        {key.replace('__', '.')}: {value}" for key, value in params.items()]
    return "\n".join([*lines, "    outs:", "    - path: x", "      md5: 1", "      size: 3", ""])


def lock(*stages: str) -> str:
    return "schema: '2.0'\nstages:\n" + "".join(stages)


MINE = stage("mine", {"data/pairs.parquet": "a", "stages/mine.py": "b"}, sepp__min=0.9, seed=0)
PRETRAIN = stage("pretrain@sepp-0", {"data/pairs.parquet": "a"}, pretrain__epochs=40)


def test_the_file_is_read_as_yaml_reads_it():
    """This repository's own."""
    text = (REPOSITORY / "dvc.lock").read_text()
    blocks = dict(STAGE.findall(text))
    stages = YAML_SAFE.load(text)["stages"]
    assert list(blocks) == list(stages)
    for name, whole in stages.items():
        assert params_of(blocks[name]) == leaves_of(whole.get("params", {}))
        files = [(f["path"], f["md5"]) for key in ("deps", "outs") for f in whole.get(key, [])]
        assert FILE.findall(blocks[name]) == files


def test_blocks_of_methods_and_evaluations_are_params_too():
    block = """    cmd: x
    params:
      params.yaml:
        seed: 0
      methods.yaml:
        moco:
          queue: 64
          views: {}
      evaluations.yaml:
        transfer:
          datasets: [digits]
"""
    expected = {"seed": 0, "methods.moco.queue": 64, "methods.moco.views": {}}
    expected["transfer.datasets"] = ["digits"]
    assert params_of(block) == expected
    assert outdated({**expected, "methods.moco.queue": 32}, lock("  sampler:\n" + block)) == [
        "methods.moco.queue"
    ]


def test_results_of_these_params():
    assert outdated(PARAMS_NOW, lock(MINE, PRETRAIN)) == []
    assert outdated(PARAMS_NOW, "") == []  # nothing can be told
    assert outdated(PARAMS_NOW, lock("  mine:\n    params:\n      other.yaml: 3\n")) == []
    assert outdated(PARAMS_NOW, "<<<<<<< HEAD\n") == []


def test_another_value_is_named_and_a_param_that_is_no_more():
    text = lock(MINE, PRETRAIN)
    assert outdated({**PARAMS_NOW, "sepp.min": 0.8, "pretrain.epochs": 4}, text) == [
        "sepp.min",
        "pretrain.epochs",
    ]
    assert outdated({k: v for k, v in PARAMS_NOW.items() if k != "seed"}, text) == ["seed"]


def test_a_file_made_since_another_stage_read_it_is_named():
    """As after `dvc exp run mine`. Another version of the code is none of it."""
    again = MINE.replace("md5: a", "md5: c")
    code = stage("combine@sepp-0", {"stages/mine.py": "d"})
    assert outdated(PARAMS_NOW, lock(again, PRETRAIN, code)) == ["data/pairs.parquet"]


def test_stages_of_arms_rounds_and_seeds_that_are_no_more_do_not_count():
    for name in ("pretrain@random-0", "pretrain@sepp-1", "pretrain_again@round1-0"):
        other = PRETRAIN.replace("pretrain@sepp-0", name).replace("40", "5").replace("md5: a", "-")
        assert outdated(PARAMS_NOW, lock(MINE, PRETRAIN, other)) == []
    for name in ("pretrain@vanilla-0", "pretrain_again@round0-0", "checkpoint@sampler", "embed"):
        other = PRETRAIN.replace("pretrain@sepp-0", name).replace("40", "5")
        assert outdated(PARAMS_NOW, lock(MINE, PRETRAIN, other)) == ["pretrain.epochs"]
