"""The stage evaluate: what it writes, what it refuses, and that a kill changes no bit."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stages import evaluate as stage
from stages import evaluation_source
from stages.common import artifacts
from stages.common.errors import SeppError
from stages.common.params import evaluation_block
from stages.common.state import TrainingState
from stages.evaluation import semi_supervised
from stages.ssl.preflight import check_trainings
from tests.conftest import TINY, write_params
from tests.ssl.test_resume import command

NAME = "semi_supervised"
FRACTIONS = [{"share": share, "lr": 0.01, "head_lr": 0.05} for share in (0.25, 0.5)]
BLOCK = {"fractions": FRACTIONS, "epochs": 4, "milestones": [2], "batch_size": 8}
ARM = ("--evaluation", NAME, "--arm", "vanilla", "--seed", "0")
METRICS = Path(f"reports/metrics/evaluations/{NAME}/vanilla-0.json")


@pytest.fixture
def ready(project, encoder) -> Path:
    """A project with an encoder and an evaluation, whose outside files are listed."""
    write_params(project / "params.yaml", {**TINY, "evaluations": [NAME], NAME: BLOCK})
    assert invoke(evaluation_source, "--evaluation", NAME).exit_code == 0
    return project


def invoke(module, *arguments: str) -> Result:
    return CliRunner().invoke(module.main, arguments)


def refused(result: Result) -> str:
    assert result.exit_code == 1
    (line,) = [text for text in result.output.splitlines() if text.startswith("Error: ")]
    return line


def run(settings: semi_supervised.Params) -> dict:
    outputs = stage.Outputs.of(NAME, "vanilla", 0)
    with TrainingState("evaluate", lambda: "x") as state:
        inputs = stage.Inputs.of(NAME, "vanilla", 0)
        stage.run(NAME, settings, inputs, outputs, "vanilla", 0, state)
    return artifacts.read_json(outputs.metrics, "evaluate")


def test_what_it_writes(ready, monkeypatch):
    monkeypatch.setattr(
        semi_supervised, "evaluate", lambda *_: {"semi_50_top1": 61.5, "semi_50_images": 24}
    )
    settings = semi_supervised.Params(**BLOCK)
    assert run(settings) == {
        "arm": "vanilla",
        "seed": 0,
        "reported": [["semi_50_top1", "50 % of the labels, top-1"]],
        "semi_50_top1": 61.5,
        "semi_50_images": 24,
    }
    monkeypatch.setattr(semi_supervised, "evaluate", lambda *_: {"skipped": "no labels"})
    assert run(settings) == {"arm": "vanilla", "seed": 0, "reported": [], "skipped": "no labels"}


def test_an_evaluation_that_changes_the_encoder_is_found_out(ready, monkeypatch):
    def meddle(encoder, *_: object) -> dict:
        encoder.backbone.conv1.weight.data += 1e-3
        return {}

    monkeypatch.setattr(semi_supervised, "evaluate", meddle)
    with pytest.raises(AssertionError, match="semi_supervised changed the encoder"):
        run(semi_supervised.Params(**BLOCK))


def test_killed_in_the_second_training_it_ends_in_the_same_bits(ready, caplog):
    caplog.set_level("INFO")
    assert invoke(stage, *ARM).exit_code == 0
    assert "resuming" not in caplog.text
    expected = (ready / METRICS).read_bytes()
    state = ready / ".state" / f"evaluate-{NAME}"
    assert not list(state.glob("*/*"))  # a finished state is cleared
    (ready / METRICS).unlink()
    process = command(ready, "stages.evaluate", *ARM)
    while not list(state.glob("*/semi_50/last.ckpt")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (ready / METRICS).exists()
    assert invoke(stage, *ARM).exit_code == 0
    assert "semi_25/result.json" in caplog.text  # not trained again
    assert "semi_50/last.ckpt" in caplog.text  # which goes on
    assert (ready / METRICS).read_bytes() == expected


def test_files_that_are_not_those_listed_are_refused(ready):
    (ready / "pets").mkdir()
    change = {**TINY, "evaluations": ["transfer"], "transfer": {"datasets": [], "root": "pets"}}
    block = {"datasets": [{"name": "pets", "reader": "imagefolder", "root": str(ready / "pets")}]}
    write_params(ready / "params.yaml", {**change, "transfer": block})
    arguments = ("--evaluation", "transfer", "--arm", "vanilla", "--seed", "0")
    assert "data/evaluations/transfer.json: is missing" in refused(invoke(stage, *arguments))
    assert invoke(evaluation_source, "--evaluation", "transfer").exit_code == 0
    (ready / "pets/0.png").write_bytes(b"x")
    said = refused(invoke(stage, *arguments))
    assert "lists other files than there are now; run `dvc repro evaluation_source@trans" in said


def test_a_typo_in_a_block_is_found_before_any_training(ready):
    write_params(
        ready / "params.yaml", {**TINY, "evaluations": [NAME], NAME: {**BLOCK, "epoch": 3}}
    )
    assert evaluation_block(Path("params.yaml"), NAME)["epoch"] == 3
    with pytest.raises(SeppError, match=r"semi_supervised\.epoch: is not a parameter"):
        check_trainings(Path("params.yaml"))
    assert "semi_supervised.epoch: is not a parameter" in refused(invoke(stage, *ARM))
    assert "Invalid value for '--evaluation'" in invoke(stage, "--evaluation", "semi").output
