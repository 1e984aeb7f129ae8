"""The `sepp` command."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stages import cli
from stages.commands import doctor
from stages.commands.preset import PRESETS as FILES
from stages.common import env
from stages.common.params import load_all
from stages.common.sections import BUNDLED
from stages.recipe.files import files
from stages.reporting.summary import summarise
from tests.conftest import REPOSITORY, write_params, write_recipe

PRESETS = ["characters", "cifar10", "digits", "imagenet", "stl10"]


def sepp(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def git(*arguments: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def refused(result: Result) -> str:
    """The one line of an error."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = [text for text in result.output.splitlines() if text.startswith("Error: ")]
    assert result.output.endswith(f"{line}\n")
    return line


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A git repository with the digits preset committed, and an environment of its own."""
    monkeypatch.chdir(tmp_path)
    for name in (*env.VARIABLES, "DVC_ROOT", "GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    git("init", "-b", "main")
    (tmp_path / "dvc.yaml").touch()
    write_recipe(tmp_path, (FILES / "digits.yaml").read_text())
    git("add", ".")
    git("commit", "-m", "Start")
    return tmp_path


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "ZeroDivisionError"])
def test_ctrl_c_while_libraries_load_is_quiet_and_a_defect_is_not(tmp_path, error):
    (tmp_path / "torch.py").write_text(f"raise {error}")  # in place of the real one
    done = subprocess.run(
        [sys.executable, "-m", "stages.sampler"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert (done.stderr == "") == (error == "KeyboardInterrupt")


def test_help_is_quick_and_whole():
    code = (
        "import sys\n"
        "from stages.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "assert not {'torch', 'lightning', 'faiss', 'pandas'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    # Not those on which an explanation goes on.
    lines = [line.split() for line in done.stdout.splitlines() if not line.startswith("   ")]
    first = [words[0] for words in lines if words]
    order = [first.index(name) for name in cli.STAGES]
    assert order == sorted(order)
    known = {
        "preset",
        "summary",
        "doctor",
        "clean-state",
        "scores",
        "thresholds",
        "label",
        "compare",
        "export",
        "features",
        "similar",
        "study",
    }
    assert known == set(cli.COMMANDS)
    assert {*cli.COMMANDS, *env.VARIABLES} <= set(first)
    for words in lines:  # none without its explanation
        if words and words[0] in (*cli.STAGES, *cli.COMMANDS, *env.VARIABLES):
            assert len(words) > 2


@pytest.mark.parametrize("stage", cli.STAGES)
def test_every_stage_has_its_help(stage):
    result = sepp(stage, "--help")
    assert result.exit_code == 0
    assert importlib.import_module(f"stages.{stage}").main.help.split(".")[0][:40] in result.output
    assert "--params" in result.output
    of_an_arm = ("combine", "pretrain", "linear_eval", "evaluate")
    assert ("--arm" in result.output) == (stage in of_an_arm)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_help(name):
    result = sepp(name, "--help")
    assert result.exit_code == 0
    assert f" {name} [OPTIONS]" in result.output


def test_the_stages_are_those_of_the_pipeline():
    assert set(sepp("--help").output.split()) >= set(cli.STAGES)
    assert sepp("sample").exit_code == 2  # click's, for a word that is no command


@pytest.mark.parametrize("name", PRESETS)
def test_preset(checkout, name):
    result = sepp("preset", name)
    assert result.exit_code == 0
    assert f"params.yaml is now the {name} preset; run `dvc repro`" in result.output
    texts = files((FILES / f"{name}.yaml").read_text())
    assert {file: Path(file).read_text() for file in texts} == texts
    written = {str(p.relative_to(checkout)) for p in checkout.rglob("*.*") if p.is_file()}
    expected = {*texts, "data/weights/sampler.json", "data/weights/pretrain.json"}
    expected |= {"data/source.json"} if name in BUNDLED else set()
    assert {p for p in written if not p.startswith(".git")} == expected | {"dvc.yaml"}


def test_a_preset_replaces_what_a_preset_wrote(checkout):
    assert sepp("preset", "stl10", "--data", "characters").exit_code == 0
    assert "name: characters" in Path("params.yaml").read_text()
    assert sepp("preset", "digits").exit_code == 0


def test_all_presets_are_offered():
    assert sorted(f.stem for f in FILES.glob("*.yaml")) == PRESETS
    assert sepp("preset", "mnist").exit_code == 2


def test_uncommitted_edits_are_kept(checkout):
    params = write_params(checkout / "params.yaml", {"seed": 7})
    edited = params.read_text()
    line = refused(sepp("preset", "cifar10"))
    assert line.startswith("Error: params.yaml: has changes that git has not recorded")
    assert "--force" in line
    assert params.read_text() == edited
    assert sepp("preset", "cifar10", "--force").exit_code == 0
    assert load_all(params).data.name == "cifar10"


def test_committed_edits_may_be_replaced(checkout):
    write_params(checkout / "params.yaml", {"seed": 7})
    git("commit", "-am", "Seed")
    assert sepp("preset", "cifar10").exit_code == 0
    assert sepp("preset", "stl10").exit_code == 0  # an uncommitted preset is no edit


def test_without_git_edits_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert refused(sepp("preset", "digits")).startswith(f"Error: {tmp_path}: is no checkout")
    assert not list(tmp_path.iterdir())
    (tmp_path / "dvc.yaml").touch()
    assert sepp("preset", "digits").exit_code == 0
    write_params(tmp_path / "params.yaml", {"seed": 7})
    refused(sepp("preset", "digits"))


def installed(monkeypatch, *names: str) -> None:
    def version(name: str) -> str:
        if name not in names:
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(doctor.metadata, "version", version)


def test_doctor_finds_nothing(checkout, monkeypatch):
    installed(monkeypatch, "faiss-cpu")
    result = sepp("doctor")
    assert (result.exit_code, result.output) == (0, "no problems found\n")


def test_doctor_finds_two_faiss_wheels(checkout, monkeypatch):
    installed(monkeypatch, "faiss-cpu", "faiss-gpu")
    result = sepp("doctor")
    assert refused(result) == "Error: 1 problem(s) found"
    assert "problem: faiss-cpu and faiss-gpu are both installed" in result.output
    assert "pip uninstall -y faiss-cpu faiss-gpu" in result.output


def test_doctor_finds_no_faiss(checkout, monkeypatch):
    installed(monkeypatch)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert "problem: faiss is not installed: pip install -e ." in sepp("doctor").output


def test_doctor_takes_a_faiss_that_pip_did_not_install(checkout, monkeypatch):
    """As conda's."""
    installed(monkeypatch)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    assert sepp("doctor").exit_code == 0


def test_doctor_finds_a_detached_head(checkout, monkeypatch):
    installed(monkeypatch, "faiss-cpu")
    git("checkout", "--detach")
    result = sepp("doctor")
    assert refused(result) == "Error: 1 problem(s) found"
    assert "problem: git HEAD is detached" in result.output
    git("checkout", "main")
    assert sepp("doctor").exit_code == 0


def test_doctor_outside_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("SEPP_STATE_DIR", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    installed(monkeypatch, "faiss-cpu")
    write_params(tmp_path / "params.yaml", {})
    assert refused(sepp("doctor")).startswith(f"Error: {tmp_path}: is no checkout")
    (tmp_path / "dvc.yaml").touch()
    result = sepp("doctor")
    assert refused(result) == "Error: 1 problem(s) found"
    assert "problem: this is no git repository, in which DVC runs nothing" in result.output
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    assert sepp("doctor").exit_code == 0


def test_doctor_finds_a_missing_data_root(checkout, monkeypatch):
    installed(monkeypatch, "faiss-cpu")
    monkeypatch.setenv("SEPP_DATA_ROOT", str(checkout / "images"))
    sepp("preset", "cifar10")
    result = sepp("doctor")
    refused(result)
    assert f"data.name is cifar10, but {checkout / 'images'} is no folder" in result.output
    assert "set SEPP_DATA_ROOT" in result.output
    (checkout / "images").mkdir()
    assert sepp("doctor").exit_code == 0


def test_doctor_counts_all_problems(checkout, monkeypatch):
    installed(monkeypatch, "faiss-cpu", "faiss-gpu")
    sepp("preset", "cifar10")
    git("checkout", "--detach")
    assert refused(sepp("doctor")) == "Error: 3 problem(s) found"


def test_doctor_on_wrong_params(checkout, monkeypatch):
    installed(monkeypatch, "faiss-cpu")
    write_params(checkout / "params.yaml", {"seed": -1})
    assert "params.yaml: seed: -1: " in refused(sepp("doctor"))


def unfinished(checkout: Path) -> Path:
    folder = checkout / ".state/sampler/0123"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_text("")
    (checkout / ".state/sampler/4567").mkdir()  # started, but nothing saved
    (checkout / ".state/sampler/0123.lock").write_text("")
    return folder


def test_doctor_notes_unfinished_trainings(checkout, monkeypatch):
    installed(monkeypatch, "faiss-cpu")
    folder = unfinished(checkout)
    result = sepp("doctor")
    assert result.exit_code == 0
    assert result.output.count("note: unfinished training") == 1
    assert f"note: unfinished training in {folder}; dvc repro resumes it" in result.output


def test_clean_state(checkout):
    unfinished(checkout)
    result = sepp("clean-state")
    assert result.output == f"removed 1 unfinished training(s) from {checkout / '.state'}\n"
    assert not list((checkout / ".state").glob("*/*/last.ckpt"))
    assert "removed 0 unfinished" in sepp("clean-state").output


def test_summary(checkout):
    results = {
        arm: [{"seed": s, "linear_top1": v + s, "knn_top1": v, "steps": 9} for s in (0, 1)]
        for arm, v in (("vanilla", 90.0), ("sepp", 92.5))
    }
    shares = {"accuracy": 0.5, "accuracy_low": 0.3, "accuracy_high": 0.7, "chance": 0.1}
    mining = {"count": 20, **shares, "anchors_covered": 12, "images": 100}
    data = {"name": "digits", "train": 100, "test": 50, "classes": 10}
    (checkout / "reports").mkdir()
    file = checkout / "reports/summary.json"
    file.write_text(json.dumps(summarise(data, mining, results)))
    result = sepp("summary")
    assert result.exit_code == 0, result.exception
    assert "92.5" in result.output
    assert "Data: digits" in result.output
    assert "NOTE" not in result.output  # no DVC here that could tell
    assert "Report: reports/index.html" in result.output
    file.write_text(json.dumps({"pairs": {}, "arms": {}, "gain": {"sepp": 2.5}}))
    assert "was written by another version; run `dvc repro report`" in refused(sepp("summary"))


def test_summary_before_any_result(checkout):
    assert "reports/summary.json: is missing; run `dvc repro report`" in refused(sepp("summary"))
