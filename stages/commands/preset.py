"""Write the recipe NAME to params.yaml and the files beside it, or with `auto` one for your images
and this machine."""

from __future__ import annotations

import atexit
import gc
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import click

from stages.common import artifacts, env
from stages.common.command import command
from stages.common.errors import SeppError
from stages.common.plugins import plugins
from stages.recipe.duration import seconds_of
from stages.recipe.files import HEADS, originals, sealed_files
from stages.recipe.images import look_at
from stages.recipe.other import on_other_data
from stages.recipe.records import records
from stages.recipe.text import PRESETS, is_sealed, preset, values_of

AUTO = "auto"


@command
@click.argument("name", type=click.Choice([*sorted(f.stem for f in PRESETS.glob("*.yaml")), AUTO]))
@click.option(
    "--data",
    type=click.Choice(plugins("datasets")),
    help="Use the recipe on another data set, e.g. on your own images in SEPP_DATA_ROOT.",
)
@click.option(
    "--budget",
    metavar="TIME",
    help="With auto, how long `dvc repro` may take: 30m (where none is given), 8h, 2d.",
)
@click.option("--force", is_flag=True, help="Replace edits that git has not recorded.")
def main(name: str, data: str | None, budget: str | None, force: bool) -> None:
    """Write the recipe NAME to params.yaml, methods.yaml and evaluations.yaml of your checkout.

    `auto --data imagefolder` (or parquet) looks at your images in SEPP_DATA_ROOT and at this
    machine, times some steps, and writes what trains sensibly in --budget, with the time that each
    stage will take.

    Any other NAME keeps its recipe on another data set (--data), view size included; but mean and
    std are measured on that data, and it says so where views and images are of very different
    sizes.

    Where one of them is edited and not committed, all are kept, unless --force is given.
    """
    env.check_checkout()
    seconds = seconds_of("30m" if budget is None else budget)
    if budget is not None and name != AUTO:
        raise SeppError(f"--budget: goes with auto, and the recipe {name} has a length of its own")
    if name == AUTO and data is None:
        raise SeppError("auto: needs --data, e.g. --data imagefolder with SEPP_DATA_ROOT set")
    if not force:
        for file in HEADS:
            _check_replaceable(Path(file))
    recipe = _planned(data, seconds) if name == AUTO else _recipe(name, data)
    with ExitStack() as together:  # all of them take their places once all are written
        for file, text in sealed_files(recipe).items():
            partial = together.enter_context(artifacts.atomic(Path(file)))
            partial.write_text(text, encoding="utf-8")
    for file, record in records(data or name).items():
        artifacts.write_json(file, record)
    click.echo(
        f"params.yaml is now the {name} preset{f' on {data}' if data else ''}; run `dvc repro`"
    )


def _planned(data: str, budget: float) -> str:
    """A recipe for `data` and this machine."""
    images = look_at(data)
    began = time.perf_counter()
    from stages.recipe.auto import planned  # late: it loads torch, for many seconds

    # At its end Python would search all that torch has loaded for cycles, again and again.
    atexit.register(gc.freeze)
    return planned(images, budget, loading=time.perf_counter() - began)


def _recipe(name: str, data: str | None) -> str:
    """The preset's text, on its own data set or, with statistics measured there, on `data`."""
    plain = preset(name)
    if data is None or data == values_of(plain)["data"]["name"]:
        return plain
    return on_other_data(name, data)


def _check_replaceable(path: Path) -> None:
    """Raises SeppError for edits that git has not recorded."""
    if not path.exists():
        return
    present = path.read_text(encoding="utf-8")
    if present not in originals() and not is_sealed(present) and _uncommitted(path):
        raise SeppError(
            f"{path}: has changes that git has not recorded; commit them, undo them with "
            f"`git checkout {path}`, or use --force"
        )


def _uncommitted(path: Path) -> bool:
    status = subprocess.run(
        ["git", "status", "--porcelain", "--", str(path)], capture_output=True, text=True
    )
    return status.returncode != 0 or bool(status.stdout.strip())
