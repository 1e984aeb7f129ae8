"""Write an encoder in the form of another library: torchvision, timm, ONNX, Hugging Face."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from stages.common.artifacts import named_output
from stages.common.command import command
from stages.common.errors import SeppError
from stages.common.plugins import plugins


@command
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format", "name", required=True, type=click.Choice(plugins("formats")),
    help="torchvision, timm: a safetensors file; onnx: a graph that takes uint8 pixels; "
    "huggingface: a folder.",
)  # fmt: skip
@click.option(
    "--layer", type=click.Choice(["backbone", "projection"]), default="backbone",
    show_default=True, help="Features to export; the projection head goes into onnx alone.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace what is there under that name.")
def main(model: Path, out: Path, name: str, layer: str, force: bool) -> None:
    """Write the encoder in the folder MODEL, e.g. models/sepp-0, to OUT for another library.

    Prints the Python that loads it, which needs nothing of this package. How images are
    preprocessed is in the file, too, and beside it, or within the folder, is a card in Markdown:
    that Python, the data, the recipe, and the results where dvc.lock records them of these weights.
    """
    from stages.formats._card import card  # here, since it loads torch
    from stages.ssl.encoder import Encoder

    module = importlib.import_module(f"stages.formats.{name}")
    if layer not in module.LAYERS:
        raise SeppError(f"--format {name} holds no {layer} head: --format onnx does")
    out = _target(model, out, module.SUFFIX, name)
    card_file = out.with_name(f"{out.name}.md") if module.SUFFIX else out / "README.md"
    there = next((path for path in (out, card_file) if path.exists()), None)
    if there and not force:
        raise SeppError(f"{there}: is there already; name another, or replace it with --force")
    encoder = Encoder.load(model)
    text = card(encoder, layer, model, module.usage(encoder, layer, out.name), not module.SUFFIX)
    left = () if module.SUFFIX else module.left(out)
    with named_output(out), _scratch(card_file.parent, left) as scratch:
        module.write(encoder, layer, scratch / out.name if module.SUFFIX else scratch)
        (scratch / card_file.name).write_text(text, encoding="utf-8")
    click.echo(f"{out}: {encoder.dim(layer)} features; what it is: {card_file}\n")
    click.echo(module.usage(encoder, layer, str(out)), nl=False)


def _target(model: Path, out: Path, suffix: str, name: str) -> Path:
    """What is written. Raises SeppError for a name that it cannot have."""
    if out.suffix not in ("", suffix) and suffix:
        raise SeppError(f"{out}: --format {name} writes a file whose name ends in {suffix}")
    out = out.with_suffix(suffix) if suffix else out
    if out.exists() and out.is_dir() == bool(suffix):
        written = "a file" if suffix else "a folder"
        raise SeppError(f"{out}: --format {name} writes {written}, which this is not; name another")
    if model.resolve() in (out.resolve(), *out.resolve().parents):
        raise SeppError(f"{out}: is in the encoder's own folder, {model}; name another")
    return out


@contextmanager
def _scratch(folder: Path, left: Iterable[str]) -> Iterator[Path]:
    """A folder whose files go to `folder` at the end, and in place of those that are `left` there;
    whatever else is there stays."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        yield Path(scratch)
        folder.mkdir(exist_ok=True)
        for name in left:
            (folder / name).unlink(missing_ok=True)
        for file in Path(scratch).iterdir():
            os.replace(file, folder / file.name)
