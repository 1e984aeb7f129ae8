"""Write the recipe NAME to params.yaml."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click

from stages import checkpoint, source
from stages.common import artifacts, weights
from stages.common.command import command
from stages.common.errors import SeppError
from stages.common.sections import BUNDLED, plugins

PRESETS = Path(__file__).parents[1] / "presets"


@command
@click.argument("name", type=click.Choice(sorted(f.stem for f in PRESETS.glob("*.yaml"))))
@click.option(
    "--data", type=click.Choice(plugins("datasets")), help="Use the recipe on another data set."
)
@click.option("--force", is_flag=True, help="Replace a params.yaml that git has not recorded.")
def main(name: str, data: str | None, force: bool) -> None:
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
    for section in checkpoint.SECTIONS:  # to which no preset gives weights
        artifacts.write_json(checkpoint.Outputs.of(section).record, weights.NONE)
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
