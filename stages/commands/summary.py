"""Print the results as a small table: pairs, top-1 per arm, where the report is."""

from __future__ import annotations

from pathlib import Path

from stages import checkpoint, source
from stages.common import artifacts, env, weights
from stages.common.command import command
from stages.common.errors import ArtifactError, CheckpointError
from stages.common.params import load_all
from stages.common.sections import BUNDLED
from stages.reporting.freshness import stale
from stages.reporting.table import print_summary

KEYS = {"data", "pairs", "arms", "gain", "rounds", "sampler", "test_error", "evaluations"}


@command
def main() -> None:
    """Print the results as a small table: pairs, top-1 per arm, where the report is.

    Says so if params, code or data have changed since.
    """
    file = Path("reports/summary.json")
    numbers = artifacts.read_json(file, "report")
    if not numbers.keys() >= KEYS:
        raise ArtifactError(file, "was written by another version", "report")
    changed = ", ".join(filter(None, [_files_changed(), _weights_changed(), stale()]))
    print_summary(numbers, Path("reports/index.html"), changed or None)


def _files_changed() -> str | None:
    """Whether an external data set is another than its listing, which `dvc repro` makes anew."""
    listed, name = Path("data/source.json"), load_all(Path("params.yaml")).data.name
    if name in BUNDLED or not env.data_root().is_dir() or not listed.exists():
        return None
    same = artifacts.read_json(listed, "source") == source.describe(name)
    return None if same else f"files in {env.data_root()}"


def _weights_changed() -> str | None:
    """Which weights that were given are others than those that were digested last."""
    settings, changed = load_all(Path("params.yaml")), []
    for section in settings.watch:
        given, record = getattr(settings, section).given, checkpoint.Outputs.of(section).record
        if not record.exists():
            continue
        try:
            same = artifacts.read_json(record, "checkpoint") == weights.describe(given)
        except CheckpointError:  # the next `dvc repro` says that they are gone
            same = False
        changed += [] if same else [f"weights in {given.name}"]
    return ", ".join(changed) or None
