"""A checkout whose pipeline has the stages' names, and does nothing but say so and wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.comparison.checkout import git, summary
from tests.conftest import REPOSITORY, write_params

PIPELINE = """\
stages:
  sampler:
    cmd: sh toy.sh sampler models/sampler
    params: [seed, sampler]
    outs: [models/sampler]
  combine:
    matrix: {arm: "${arms}", seed: "${seeds}"}
    cmd: sh toy.sh combine@${item.arm} data/combined/${item.arm}-${item.seed} ${sepp.min}
    outs: ["data/combined/${item.arm}-${item.seed}"]
  pretrain:
    matrix: {arm: "${arms}", seed: "${seeds}"}
    cmd: sh toy.sh pretrain@${item.arm}-${item.seed} models/${item.arm}-${item.seed}
    deps: [models/sampler, "data/combined/${item.arm}-${item.seed}"]
    params: [pretrain]
    outs: ["models/${item.arm}-${item.seed}"]
  report:
    cmd: sh toy.sh report reports/summary.json
    deps: ["models/vanilla-${seed}", "models/sepp-${seed}"]
    metrics:
      - reports/summary.json: {cache: false}
"""
# A stage is in the log when it starts, and when it ends; a training waits while there is a file
# of its name, and fails while there is one `broken`. All but sepp is the same for each threshold.
SCRIPT = """\
set -e
echo "start $1" >> "$TOY_ROOT/toy.log"
mkdir -p "$(dirname "$2")"
case $1 in
  pretrain*) test ! -e "$TOY_ROOT/broken" || { echo "Error: it is broken"; exit 1; }
             while test -e "$TOY_ROOT/hold-$1"; do sleep 0.1; done
             echo "$1" > "$2" ;;
  combine@sepp) echo "$3" > "$2" ;;
  report) cp results.json "$2" ;;
  *) echo "$1" > "$2" ;;
esac
echo "end $1" >> "$TOY_ROOT/toy.log"
"""
STUDY = """\
title: Two thresholds
about: Which of them?
preset: digits
grid: {sepp.min: [0.9, 0.95]}
columns: [pairs, linear]
"""


class Toy:
    def __init__(self, folder: Path) -> None:
        """Of `folder`, the working directory."""
        self.folder = folder
        git("init", "-q", "-b", "main", str(folder))
        git("config", "user.name", "A")
        git("config", "user.email", "a@example.org")
        subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
        (folder / ".dvc/config").write_text((REPOSITORY / ".dvc/config").read_text())
        (folder / "dvc.yaml").write_text(PIPELINE)
        (folder / "toy.sh").write_text(SCRIPT)
        (folder / "results.json").write_text(json.dumps(summary(seeds=1)))
        ignored = [
            "/models",
            "/data/combined",
            "/toy.log",
            "/broken",
            "/hold-*",
            "/reports/studies",
        ]
        (folder / ".gitignore").write_text("\n".join(ignored) + "\n")
        write_params(folder / "params.yaml", {})
        (folder / "studies").mkdir()
        (folder / "studies/toy.yaml").write_text(STUDY)
        git("add", "-A")
        git("commit", "-q", "-m", "Start")

    def start(self, *arguments: str) -> subprocess.Popen:
        """`sepp study toy`, which runs on."""
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "SEPP_LOG_SECONDS": "1"}
        variables["TOY_ROOT"] = str(self.folder)
        return subprocess.Popen(
            [sys.executable, "-m", "stages.cli", "study", "toy", *arguments],
            cwd=self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def study(self, *arguments: str, fails: bool = False) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate()
        assert (process.returncode != 0) == fails, said
        return said

    def hold(self, stage: str) -> Path:
        """A file that makes a training wait until it is removed."""
        file = self.folder / f"hold-{stage}"
        file.touch()
        return file

    def log(self) -> list[str]:
        file = self.folder / "toy.log"
        return file.read_text().splitlines() if file.exists() else []

    def wait_for(self, line: str, times: int = 1) -> None:
        """Until stages have written `line`, so many times."""
        for _ in range(1200):
            if self.log().count(line) >= times:
                return
            time.sleep(0.1)
        raise AssertionError(f"{line} is not {times} times in {self.log()}")
