"""The `sepp` command: runs a stage, writes a preset, looks after the checkout."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
from importlib import metadata
from pathlib import Path

import click
from filelock import FileLock, Timeout

from stages import checkpoint, source
from stages.common import artifacts, env, weights
from stages.common.command import command
from stages.common.errors import ArtifactError, CheckpointError, SeppError
from stages.common.params import BUNDLED, load_all, plugins

STAGES = (
    "source",
    "prepare",
    "checkpoint",
    "sampler",
    "embed",
    "mine",
    "combine",
    "pretrain",
    "linear_eval",
    "report",
)
PRESETS = Path(__file__).parent / "presets"


class Commands(click.Group):
    """Stages beside the commands below; a stage's module, and torch, load only when it is run."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*STAGES, *super().list_commands(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in STAGES:
            return importlib.import_module(f"stages.{name}").main
        return super().get_command(context, name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Stages, in the order of dvc repro; source, checkpoint if needed"):
            formatter.write_dl([(name, _summary(name)) for name in STAGES])
        own = [(n, self.commands[n].get_short_help_str(200)) for n in self.commands]
        with formatter.section("Commands"):
            formatter.write_dl(own)
        with formatter.section("Environment variables (the machine, never the result)"):
            formatter.write_dl(list(env.VARIABLES.items()))


def _summary(stage: str) -> str:
    """First line of a stage's docstring, read without importing it."""
    source = Path(__file__).with_name(f"{stage}.py").read_text()
    return source.split('"""')[1].strip().split("\n\n")[0].replace("\n", " ").split(". ")[0]


@click.group(cls=Commands, context_settings={"max_content_width": 100})
def main() -> None:
    """Semantic positive pairs for self-supervised learning.

    \b
    dvc repro                             the whole pipeline; only what changed runs
    dvc exp run -S sepp.min=0.96          an experiment with another threshold
    dvc metrics diff                      old and new numbers side by side
    sepp preset cifar10                   another data set and its recipe
    """


@main.add_command
@command
@click.argument("name", type=click.Choice(sorted(f.stem for f in PRESETS.glob("*.yaml"))))
@click.option(
    "--data", type=click.Choice(plugins("datasets")), help="Use the recipe on another data set."
)
@click.option("--force", is_flag=True, help="Replace a params.yaml that git has not recorded.")
def preset(name: str, data: str | None, force: bool) -> None:
    """Write the recipe NAME to params.yaml.

    `--data imagefolder` or `--data parquet` takes the recipe for your own images in
    SEPP_DATA_ROOT. An edited params.yaml that is not committed is kept, unless --force is given.
    """
    target = Path("params.yaml")
    choices = [None, *plugins("datasets")]
    known = {_recipe(f.stem, choice) for f in PRESETS.glob("*.yaml") for choice in choices}
    if target.exists() and not force and target.read_text() not in known and _uncommitted(target):
        raise SeppError(
            "params.yaml: has changes that git has not recorded; commit them, undo them with "
            "`git checkout params.yaml`, or use --force"
        )
    text = _recipe(name, data)
    with artifacts.atomic(target) as partial:
        partial.write_text(text)
    if (data or name) in BUNDLED:  # no stage lists them: what an external set left is out of date
        artifacts.write_json(source.Outputs.listing, source.describe(data or name))
    artifacts.write_json(checkpoint.Outputs.record, weights.NONE)  # as no preset has any
    click.echo(
        f"params.yaml is now the {name} preset{f' on {data}' if data else ''}; run `dvc repro`"
    )


def _recipe(name: str, data: str | None) -> str:
    """The preset's text, on its own data set or on `data`."""
    text = (PRESETS / f"{name}.yaml").read_text()
    if data:
        watch = "" if data in BUNDLED else data
        text = re.sub(r"(?m)^  name: \w+", f"  name: {data}", text, count=1)
        text = re.sub(r"(?m)^  watch: \[\w*\]", f"  watch: [{watch}]", text, count=1)
    return text


def _uncommitted(path: Path) -> bool:
    status = subprocess.run(
        ["git", "status", "--porcelain", "--", str(path)], capture_output=True, text=True
    )
    return status.returncode != 0 or bool(status.stdout.strip())


@main.add_command
@command
def summary() -> None:
    """Print the results as a small table: pairs, top-1 per arm, where the report is.

    Says so if params, code or data have changed since.
    """
    from stages.reporting.freshness import stale
    from stages.reporting.table import print_summary

    file = Path("reports/summary.json")
    numbers = artifacts.read_json(file, "report")
    if not {"data", "pairs", "arms", "gain", "sampler", "test_error"} <= numbers.keys():
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
    """Whether the weights in sampler.checkpoint are others than those that were digested last."""
    recorded, sampler = checkpoint.Outputs.record, load_all(Path("params.yaml")).sampler
    if not sampler.watch or not recorded.exists():
        return None
    try:
        same = artifacts.read_json(recorded, "checkpoint") == checkpoint.describe(sampler)
    except CheckpointError:  # the next `dvc repro` says that they are gone
        same = False
    return None if same else f"weights in {sampler.checkpoint}"


@main.add_command
@command
def doctor() -> None:
    """Look for what commonly goes wrong in an installation or a checkout; exit 1 if anything does.

    Finds two FAISS wheels in one environment, a detached HEAD left by a killed `dvc exp run`, a
    data root that is not there, and unfinished trainings.
    """
    problems = [line for check in (_faiss, _head, _data) for line in check()]
    for line in problems:
        click.echo(f"problem: {line}")
    for state in _states():
        click.echo(
            f"note: unfinished training in {state}; dvc repro resumes it if its params stand"
        )
    if problems:
        raise SeppError(f"{len(problems)} problem(s) found")
    click.echo("no problems found")


def _faiss() -> list[str]:
    wheels = [n for n in ("faiss-cpu", "faiss-gpu") if _installed(n)]
    if len(wheels) == 2:
        return [
            "faiss-cpu and faiss-gpu are both installed and overwrite each other: "
            "pip uninstall -y faiss-cpu faiss-gpu, then `pip install -e .` "
            "(SEPP_FAISS=gpu for the GPU wheel)"
        ]
    if not wheels and importlib.util.find_spec("faiss") is None:
        return ["faiss is not installed: pip install -e ."]
    return []


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _head() -> list[str]:
    head = subprocess.run(["git", "symbolic-ref", "-q", "HEAD"], capture_output=True)
    inside = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True)
    if inside.returncode == 0 and head.returncode != 0:
        return [
            "git HEAD is detached, as a killed `dvc exp run` leaves it: unless one runs at the "
            "moment, `git checkout <your branch>` brings you back"
        ]
    return []


def _data() -> list[str]:
    name = load_all(Path("params.yaml")).data.name
    if name not in BUNDLED and not env.data_root().is_dir():
        return [
            f"data.name is {name}, but {env.data_root()} is no folder: "
            "set SEPP_DATA_ROOT to where the images are"
        ]
    return []


def _states() -> list[Path]:
    """Folders of trainings that are unfinished and do not run at the moment."""
    found = sorted(f.parent for f in env.state_dir().glob("*/*/last.ckpt"))
    return [folder for folder in found if not _locked(folder)]


def _locked(folder: Path) -> bool:
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


@main.add_command
@command
def clean_state() -> None:
    """Remove the states of all unfinished trainings; they will start from their first epoch.

    Those of trainings that run at the moment stay.
    """
    states = _states()
    for folder in states:
        artifacts.remove(folder)
    click.echo(f"removed {len(states)} unfinished training(s) from {env.state_dir()}")


if __name__ == "__main__":
    main()
