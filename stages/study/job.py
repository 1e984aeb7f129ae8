"""An experiment of a study as its worker needs to know it, and where its files lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.study.claims import FOLDER
from stages.study.clone import git
from stages.study.trainings import Training


@dataclass(frozen=True)
class Job:
    """What is to be run."""

    name: str
    baseline: str  # the commit that it starts from
    params: dict[str, str]  # the texts of params.yaml and of the files beside it
    records: dict[str, object]  # JSON files that no stage writes for these params
    given: list[str]  # files and folders of the checkout: weights, and data for evaluations
    until: str | None
    trainings: dict[str, Training]

    def dump(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def load(cls, values: dict) -> Job:
        trainings = {stage: Training(*one) for stage, one in values["trainings"].items()}
        return cls(**{**values, "trainings": trainings})

    @property
    def ref(self) -> str:
        """Where DVC keeps the outcome."""
        return f"refs/exps/{self.baseline[:2]}/{self.baseline[2:]}/{self.name}"

    @property
    def log(self) -> Path:
        return FOLDER / "logs" / f"{self.name}.log"

    @property
    def work(self) -> Path:
        """The folder of its clones."""
        return FOLDER / "work" / self.name

    @property
    def failure(self) -> Path:
        return failure_of(self.name)

    @property
    def now(self) -> Path:
        """What it is at: a stage, and which share of it is done."""
        return FOLDER / "now" / f"{self.name}.json"


def failure_of(name: str) -> Path:
    """Where it says why an experiment failed, until it is run again."""
    return FOLDER / "failed" / name


def finished(jobs: Iterable[Job]) -> set[str]:
    """The names of those whose outcome DVC has."""
    refs = set(git(".", "for-each-ref", "--format=%(refname)", "refs/exps").split())
    return {job.name for job in jobs if job.ref in refs}
