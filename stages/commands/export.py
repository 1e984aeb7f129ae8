"""Write an encoder in the form of another library: torchvision, timm, ONNX, Hugging Face."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from stages.common.artifacts import atomic
from stages.common.command import command
from stages.common.errors import SeppError
from stages.common.sections import plugins


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
    out, card_file = _targets(out, module.SUFFIX, name)
    there = next((path for path in (out, card_file) if path.exists()), None)
    if there and not force:
        raise SeppError(f"{there}: is there already; name another, or replace it with --force")
    encoder = Encoder.load(model)
    usage = module.usage(encoder, layer, out.name)
    text = card(encoder, layer, model, usage, hub=not module.SUFFIX)
    if module.SUFFIX:
        module.write(encoder, layer, out)
        with atomic(card_file) as partial:
            partial.write_text(text)
    else:
        with atomic(out) as partial:
            partial.mkdir()
            module.write(encoder, layer, partial)
            (partial / card_file.name).write_text(text)
    click.echo(f"{out}: {encoder.dim(layer)} features; what it is: {card_file}\n")
    click.echo(module.usage(encoder, layer, str(out)), nl=False)


def _targets(out: Path, suffix: str, name: str) -> tuple[Path, Path]:
    """Where the export goes, and the card about it."""
    if not suffix:
        return out, out / "README.md"
    if out.suffix not in ("", suffix):
        raise SeppError(f"{out}: --format {name} writes a file whose name ends in {suffix}")
    out = out.with_suffix(suffix)
    return out, out.with_suffix(".md")
