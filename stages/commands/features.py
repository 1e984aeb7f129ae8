"""Write the features of any images, of a folder or of Parquet files, to a Parquet file."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from stages.common.artifacts import named_output
from stages.common.command import command
from stages.common.errors import SeppError
from stages.retrieval.features_file import About, write_features
from stages.retrieval.images import Images

log = logging.getLogger(__name__)
skip_option = click.option(
    "--skip-broken", is_flag=True, help="Leave out, and name, images that do not decode; else stop."
)


@command
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--layer", type=click.Choice(["backbone", "projection"]), default="backbone",
    show_default=True, help="Whose outputs the features are.",
)  # fmt: skip
@click.option("--normalize", is_flag=True, help="Divide each embedding by its length.")
@skip_option
@click.option("--force", is_flag=True, help="Replace OUT.")
def main(
    model: Path, images: Path, out: Path, layer: str, normalize: bool, skip_broken: bool,
    force: bool,
) -> None:  # fmt: skip
    """Write the features of IMAGES, by the encoder in the folder MODEL, to OUT, a Parquet file.

    IMAGES is a folder, at any depth, or a Parquet file, or a folder of these, with a column `image`
    or `img` as on the Hugging Face hub. Columns of OUT: path, embedding (float32), and label: the
    folder below IMAGES (or its train/, test/, …) that an image lies in, or the Parquet file's.
    Images are read as they are needed; SEPP_DEVICES=4 spreads them over four GPUs.
    """
    if out.suffix != ".parquet":
        raise SeppError(f"{out}: is written as Parquet: give it a name that ends in .parquet")
    if out.exists() and not force:
        raise SeppError(f"{out}: is there already; name another, or replace it with --force")
    found = Images(images)
    from stages.retrieval.embedding import embed_images  # here, since it loads torch
    from stages.ssl.encoder import Encoder, weights_digest

    encoder = Encoder.load(model)
    about = About(weights_digest(encoder), layer, normalize, encoder.config.image_size)
    dim = encoder.dim(layer)
    blocks = embed_images(encoder, found, layer, skip_broken, model)
    with named_output(out):
        total = write_features(out, dim, about, blocks)
    log.info("%s: %s images, %d features each (%s)", out, f"{total:,}", dim, layer)
