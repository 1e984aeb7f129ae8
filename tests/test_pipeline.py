"""The real pipeline under DVC, on a clone of the repository: what runs, and what must not."""

from __future__ import annotations

import functools
import json
import operator
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import REPOSITORY, TINY, YAML_SAFE, write_params

pytestmark = pytest.mark.slow

SMALL = {
    **TINY,
    "data.limit": 200,
    "sampler.epochs": 4,
    "pretrain.epochs": 1,
    "embed.k": 150,
    "sepp.min": 0.97,
    "sepp.max": 0.9999,
    "sepp.max_pairs": 60,
    "seeds": [0],
}


class Checkout:
    """A copy of the tracked files as a repository of its own, in which `dvc` runs."""

    def __init__(self, folder: Path, changes: dict | None = None) -> None:
        self.folder = folder
        listed = self.run("git", "ls-files", "-co", "--exclude-standard", cwd=REPOSITORY)
        for name in listed.split("\n"):
            source = REPOSITORY / name
            result = name.startswith(("reports/", "dvc.lock"))
            empty = "scores" in name or name.endswith(".gitkeep")
            if name and source.is_file() and (empty or not result):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
        write_params(folder / "params.yaml", changes or SMALL)
        self.run("git", "init", "-q")
        self.run("git", "config", "user.name", "test")
        self.run("git", "config", "user.email", "test@localhost")
        self.commit("start")

    def run(self, *arguments: str, cwd: Path | None = None, fails: bool = False) -> str:
        binaries = str(Path(sys.executable).parent)
        variables = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
        variables |= {"SEPP_ACCELERATOR": "cpu", "SEPP_WORKERS": "0"}
        variables.pop("DVC_ROOT", None)
        done = subprocess.run(
            arguments,
            cwd=cwd or self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def dvc(self, *arguments: str, fails: bool = False) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, fails=fails)

    def ran(self, *arguments: str) -> list[str]:
        """The stages that a `dvc` command ran, in order."""
        return re.findall(r"Running stage '([^']+)'", self.dvc(*arguments))

    def invalidated(self, key: str) -> set[str]:
        """The stages that another value of a parameter makes stale themselves; as for `-S`, with
        its file before a colon."""
        file, _, key = (key if ":" in key else f"params.yaml:{key}").partition(":")
        path = self.folder / file
        text = path.read_text()
        values = YAML_SAFE.load(text)
        *sections, leaf = key.split(".")
        section = functools.reduce(operator.getitem, sections, values)
        section[leaf] = not section[leaf] if isinstance(section[leaf], bool) else section[leaf] * 2
        with path.open("w") as stream:
            YAML_SAFE.dump(values, stream)
        status = json.loads(self.dvc("status", "--json"))
        path.write_text(text)
        return {
            stage.split("@")[0]
            for stage, changes in status.items()
            if any("changed deps" in c and file in c["changed deps"] for c in changes)
        }

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def sepp(self, *arguments: str) -> str:
        return self.run(str(Path(sys.executable).with_name("sepp")), *arguments)

    def sepp_summary(self) -> str:
        return self.sepp("summary")

    def metric(self, path: str) -> dict:
        return json.loads((self.folder / f"reports/{path}.json").read_text())


AFTER_PAIRS = {"mine", "combine@vanilla-0", "combine@sepp-0", "pretrain@sepp-0"}
AFTER_PAIRS |= {"linear_eval@sepp-0", "report"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    ran = checkout.ran("repro")
    assert ran[:3] == ["prepare", "sampler", "embed"]
    assert {"explore", "mine"} < set(ran)
    assert ran[-1] == "report"
    assert len(ran) == 12
    checkout.commit("first results")
    return checkout


def test_an_exports_card_tells_of_the_encoder_that_dvc_recorded(checkout, tmp_path):
    told = checkout.sepp("export", "models/sepp-0", f"{tmp_path}/out", "--format", "torchvision")
    assert "load_state_dict" in told
    card = (tmp_path / "out.safetensors.md").read_text()
    result = checkout.metric("metrics/linear_eval/sepp-0")
    assert f"| linear classifier, top-1 | {result['linear_top1']:.2f} | " in card
    assert "digits: 200 training images" in card
    assert "sepp.max_pairs: 60" in card
    assert "sampler.epochs: 4" in card
    assert "Gain of the arm over `vanilla`" in card


def test_results_are_complete(checkout):
    summary = checkout.metric("summary")
    assert summary["pairs"]["count"] == 60
    assert set(summary["arms"]) == {"vanilla", "sepp"}
    assert summary["arms"]["sepp"]["n"] == 1
    assert summary["gain"]["sepp"]["linear"]["mean"] == pytest.approx(
        summary["arms"]["sepp"]["top1_mean"] - summary["arms"]["vanilla"]["top1_mean"], abs=1e-3
    )
    assert summary["gain"]["sepp"]["steps"] == 1
    page = (checkout.folder / "reports/index.html").read_text()
    assert "<svg" in page
    assert "data:image/" in page
    assert "Changed since" not in page
    said = checkout.sepp_summary()
    assert "vanilla" in said
    assert "NOTE" not in said
    assert "linear_top1" in checkout.dvc("metrics", "show")
    assert "thresholds" in checkout.dvc("plots", "show", "--json")


def test_nothing_runs_twice(checkout):
    began = time.monotonic()
    assert checkout.ran("repro") == []
    print(f"a repro with nothing to do: {time.monotonic() - began:.2f} s")
    assert "nothing to commit" in checkout.run("git", "status")


def test_results_of_other_params_or_code_say_so(checkout):
    params, code = checkout.folder / "params.yaml", checkout.folder / "stages/combine.py"
    params.write_text(params.read_text().replace("max: 0.99", "max: 0.98"))
    code.write_text(code.read_text() + "\n")
    said = " ".join(checkout.sepp_summary().split())
    assert "changed since: sepp.max, stages/combine.py" in said
    checkout.run(sys.executable, "-m", "stages.report")
    page = (checkout.folder / "reports/index.html").read_text()
    assert "Changed since: sepp.max, stages/combine.py" in page
    checkout.run("git", "checkout", "-q", ".")
    checkout.dvc("checkout", "-q", "--force")
    assert "NOTE" not in checkout.sepp_summary()


def test_a_threshold_reruns_only_what_is_downstream_of_the_pairs(checkout):
    before = checkout.metric("metrics/mine")["similarity_mean"]
    assert set(checkout.ran("exp", "run", "-S", "sepp.min=0.99")) == AFTER_PAIRS
    assert checkout.metric("metrics/mine")["similarity_mean"] > before
    diff = checkout.dvc("metrics", "diff", "--json")
    assert "similarity_mean" in diff
    # A fresh clone has no cache, but the committed metrics on one side and the new on the other.
    clone = checkout.folder.parent / "clone"
    checkout.commit("a higher threshold")
    checkout.run("git", "clone", "-q", str(checkout.folder), str(clone))
    cloned = checkout.run(
        sys.executable, "-m", "dvc", "metrics", "diff", "HEAD~1", "HEAD", cwd=clone
    )
    assert re.search(r"mine\.json +similarity_mean +0\.9\d+ +0\.99\d* ", cloned)
    # Back again: all from the cache.
    assert checkout.ran("exp", "run", "-S", "sepp.min=0.97") == []
    assert checkout.metric("metrics/mine")["similarity_mean"] == before
    checkout.commit("back")


def test_experiments_from_the_queue_run_in_a_copy(checkout):
    checkout.dvc("exp", "run", "--queue", "-n", "queued", "-S", "sepp.min=0.98")
    checkout.dvc("queue", "start")
    for _ in range(240):
        if "Success" in checkout.dvc("queue", "status"):
            break
        time.sleep(0.5)
    shown = json.loads(checkout.dvc("exp", "show", "--json"))
    assert "queued" in json.dumps(shown)
    logs = checkout.dvc("queue", "logs", "queued")
    assert set(re.findall(r"Running stage '([^']+)'", logs)) == AFTER_PAIRS
    assert "nothing to commit" in checkout.run("git", "status")
    said = checkout.sepp("compare", "HEAD", "queued")
    assert re.search(r"(?m)^queued +60 ", said)
    assert "min=0.98" in said
    assert "changed since" not in said
    assert "nothing to commit" in checkout.run("git", "status")


def test_an_experiment_of_some_stages_has_no_results_of_its_params(checkout):
    checkout.dvc("exp", "run", "-n", "part", "-S", "sepp.max_pairs=50", "mine")
    checkout.run("git", "checkout", "-q", ".")
    checkout.dvc("checkout", "-q")
    said = " ".join(checkout.sepp("compare", "HEAD", "part").split())
    assert "part: these results are of other params, code or data than it has" in said
    assert "changed since: data/pairs." in said
    assert "HEAD: these" not in said


def test_a_training_parameter_does_not_touch_the_pairs(checkout):
    ran = checkout.ran("exp", "run", "-S", "pretrain.match_steps=false")
    assert {name.split("@")[0] for name in ran} == {"pretrain", "linear_eval", "report"}
    steps = [
        checkout.metric(f"metrics/linear_eval/{arm}-0")["steps"] for arm in ("vanilla", "sepp")
    ]
    assert steps == [200 // 16, 260 // 16]
    ratio = checkout.metric("summary")["gain"]["sepp"]["steps"]
    assert ratio == pytest.approx(steps[1] / steps[0], abs=1e-4)


def test_methods_are_chosen_and_tracked_apart(checkout):
    checkout.run("git", "checkout", "-q", ".")
    checkout.dvc("checkout", "-q")
    change = ("-S", "sampler.method=simsiam", "-S", "pretrain.method=simclr", "-S", "sepp.min=0.3")
    ran = {name.split("@")[0] for name in checkout.ran("exp", "run", *change)}
    mined = {"embed", "explore", "mine", "combine"}
    assert ran == {"sampler", *mined, "pretrain", "linear_eval", "report"}
    assert "accuracy" in checkout.dvc("metrics", "diff", "--json")
    for key, stages in {
        "methods.yaml:moco.queue": set(),
        "methods.yaml:simclr.temperature": {"pretrain"},
        "methods.yaml:simsiam.bottleneck_dim": {"sampler"},
        "sepp.mask_partners": {"combine"},
    }.items():
        assert checkout.invalidated(key) == stages, key


def test_an_earlier_runs_encoder_mines_the_next_round(checkout):
    """In a copy, where models/ is not: the folder is the main checkout's."""
    checkout.run("git", "checkout", "-q", ".")
    checkout.dvc("checkout", "-q")
    shutil.copytree(checkout.folder / "models/sepp-0", checkout.folder / "models/round-1")
    given = ("-S", "sampler.checkpoint=models/round-1")
    refused = checkout.dvc("exp", "run", *given, fails=True)
    assert "set it to [sampler]" in next(line for line in refused.splitlines() if "Error:" in line)
    checkout.run("git", "checkout", "-q", ".")
    change = (*given, "-S", "watch=[sampler]", "-S", "sepp.min=0.5")
    said = checkout.dvc("exp", "run", "--temp", *change)
    assert "Running stage 'sampler'" in said
    assert "linear_eval@sepp-0" in said


def test_further_arms(checkout):
    checkout.run("git", "checkout", "-q", ".")
    checkout.dvc("checkout", "-q")
    arms = ["vanilla", "sepp", "oracle"]
    ran = checkout.ran("exp", "run", "-S", f"arms=[{','.join(arms)}]")
    assert "pretrain@vanilla-0" not in ran
    assert set(checkout.metric("summary")["arms"]) == set(arms)
    rows = {a: pq.read_table(checkout.folder / f"data/combined/{a}-0.parquet") for a in arms}
    assert {a: len(t) for a, t in rows.items()} == {a: 200 if a == "vanilla" else 260 for a in arms}


def test_a_mistake_stops_before_anything_runs(checkout):
    said = checkout.dvc("exp", "run", "-S", "sepp.min=1.2", fails=True)
    line = next(line for line in said.splitlines() if line.startswith("Error:"))
    assert "sepp.min" in line
    assert "1.2" in line
    assert "Traceback" not in said


def test_changed_external_data_is_noticed(checkout, tmp_path, monkeypatch):
    from PIL import Image

    for split, count in (("train", 20), ("test", 4)):
        for label in ("a", "b"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (8 + i % 3, 8), (i * 10, 80 * (label == "b"), 9)).save(
                    folder / f"{i}.png"
                )
    monkeypatch.setenv("SEPP_DATA_ROOT", str(tmp_path))
    checkout.run("git", "checkout", "-q", ".")
    write_params(
        checkout.folder / "params.yaml",
        {**SMALL, "data.name": "imagefolder", "data.watch": ["imagefolder"], "data.limit": None},
    )
    assert checkout.ran("repro", "prepare") == ["source@imagefolder", "prepare"]
    assert checkout.ran("repro", "prepare") == ["source@imagefolder"]
    assert "files in" not in checkout.sepp_summary()
    Image.new("RGB", (9, 9)).save(tmp_path / "train/a/new.png")
    assert "changed since: files in" in checkout.sepp_summary()
    assert checkout.ran("repro", "prepare") == ["source@imagefolder", "prepare"]


def test_arms_start_from_weights_and_notice_a_change_in_them(checkout, tmp_path):
    checkout.run("git", "checkout", "-q", ".")
    checkout.dvc("checkout", "-q")
    given = tmp_path / "given"
    shutil.copytree(checkout.folder / "models/vanilla-0", given)
    change = {"pretrain.weights": str(given), "watch": ["pretrain"], "arms": ["vanilla"]}
    write_params(checkout.folder / "params.yaml", {**SMALL, **change})
    both = ["checkpoint@pretrain", "pretrain@vanilla-0"]
    assert checkout.ran("repro", "pretrain@vanilla-0") == both
    config = json.loads((checkout.folder / "models/vanilla-0/config.json").read_text())
    assert config["training"]["weights"]["name"] == str(given)
    assert checkout.ran("repro", "pretrain@vanilla-0") == both[:1]
    shutil.copy(checkout.folder / "models/vanilla-0/model.safetensors", given)
    assert f"weights in {given}" in " ".join(checkout.sepp_summary().split())
    assert checkout.ran("repro", "pretrain@vanilla-0") == both


def test_changed_weights_under_one_name_are_noticed(checkout, tmp_path):
    """Outside the repository; touched, they are read again, but nothing is trained anew."""
    checkout.run("git", "checkout", "-q", ".")
    checkout.dvc("checkout", "-q")
    given = tmp_path / "given"
    shutil.copytree(checkout.folder / "models/vanilla-0", given)
    change = {"sampler.checkpoint": str(given), "watch": ["sampler"], "sepp.min": 0.5}
    write_params(checkout.folder / "params.yaml", {**SMALL, **change})
    assert checkout.ran("repro", "sampler") == ["checkpoint@sampler", "sampler"]
    assert checkout.metric("metrics/sampler")["rows_seen"] is None
    assert checkout.ran("repro", "sampler") == ["checkpoint@sampler"]
    for file in given.iterdir():
        os.utime(file)
    assert checkout.ran("repro", "sampler") == ["checkpoint@sampler"]
    shutil.copy(checkout.folder / "models/sepp-0/model.safetensors", given)
    assert f"changed since: weights in {given}" in " ".join(checkout.sepp_summary().split())
    assert checkout.ran("repro", "sampler") == ["checkpoint@sampler", "sampler"]
    given.rename(tmp_path / "gone")
    said = checkout.dvc("repro", "sampler", fails=True)
    assert re.search(r"Error: sampler\.checkpoint .*given.*: neither a file or folder", said)
    write_params(checkout.folder / "params.yaml", SMALL)
    said = checkout.dvc("repro", "sampler", fails=True)
    assert re.search(r"Error: data/weights/sampler\.json: is still about .*`sepp checkpoint`", said)
    checkout.run(sys.executable, "-m", "stages.checkpoint")
    assert checkout.ran("repro", "sampler") == []  # all from the cache
