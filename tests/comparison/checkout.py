"""A git repository with experiments as DVC keeps them, and results as the stages write them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from stages.reporting.summary import summarise
from tests.conftest import write_params

WHO = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
STASHES = "refs/exps/celery"


def git(*arguments: str) -> str:
    command = ["git", *WHO, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def summary(
    pairs: int = 3938,
    accuracy: float | None = 0.8,
    gain: float | None = 0.5,
    arm: str = "sepp",
    steps: int = 900,
    seeds: int = 3,
) -> dict:
    """Of vanilla, and of `arm` where there is a gain, as the stage report sums them up."""
    known = accuracy is not None
    bounds = (
        {"accuracy_low": accuracy - 0.05, "accuracy_high": accuracy + 0.04, "chance": 0.1}
        if known
        else {}
    )
    mining = {"count": pairs, "accuracy": accuracy, **bounds, "anchors_covered": pairs // 3}
    noise = np.random.default_rng(pairs).normal(0, 0.3, seeds)
    arms = {"vanilla": (np.zeros(seeds), 900)}
    arms |= {} if gain is None else {arm: (gain + noise, steps)}
    runs = {
        name: [
            {"seed": s, "linear_top1": 78 + top1, "knn_top1": 71 + 2 * top1, "steps": taken}
            for s, top1 in enumerate(values)
        ]
        for name, (values, taken) in arms.items()
    }
    data = {"name": "digits", "train": 2040, "test": 680, "classes": 10}
    return json.loads(json.dumps(summarise(data, mining, runs)))  # numpy's numbers are Python's


class Checkout:
    """Of `folder`, the working directory. Its first commit has the digits preset and results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        git("init", "-q", "-b", "main", str(folder))
        self.commit(summary())

    def write(self, results: dict | str | None, **changes: Any) -> None:
        """params.yaml with `changes`, whose dots are written as __, and reports/summary.json."""
        leaves = {name.replace("__", "."): value for name, value in changes.items()}
        write_params(self.folder / "params.yaml", leaves)
        file = self.folder / "reports/summary.json"
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)
        if results is not None:
            file.write_text(results if isinstance(results, str) else json.dumps(results))

    def commit(self, results: dict | str | None, **changes: Any) -> str:
        self.write(results, **changes)
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", "Results")
        return git("rev-parse", "HEAD")

    def experiment(self, name: str, results: dict | str | None, **changes: Any) -> str:
        """A commit on HEAD that only the ref of an experiment names; the checkout stays."""
        baseline = git("rev-parse", "HEAD")
        commit = self.commit(results, **changes)
        git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", commit)
        git("reset", "-q", "--hard", baseline)
        return commit

    def queue(self, name: str, stash: str = "stash") -> None:
        """An entry of the queue, or of its `failed` experiments."""
        baseline = git("rev-parse", "HEAD")
        tree = git("write-tree")
        entry = git("commit-tree", "-p", baseline, "-m", name, tree)
        told = f"commit: dvc-exp:{baseline}:{baseline}:{name}"
        git("update-ref", "--create-reflog", "-m", told, f"{STASHES}/{stash}", entry)
