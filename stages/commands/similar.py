"""Find the images that are the most similar to one: a table here, and a page."""

from __future__ import annotations

from pathlib import Path

import click

from stages.commands.features import skip_option
from stages.common import artifacts
from stages.common.command import command
from stages.common.errors import SeppError
from stages.retrieval.features_file import About, read_about, read_features
from stages.retrieval.images import Images, is_there, open_image
from stages.retrieval.nearest import nearest

PAGE = Path("reports/similar.html")


@command
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("query")
@click.option("-n", "count", type=click.IntRange(1), default=10, show_default=True)
@click.option("--layer", type=click.Choice(["backbone", "projection"]), help="[default: backbone]")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=PAGE,
    show_default=True, help="The page, to be opened in a browser.",
)  # fmt: skip
@skip_option
def main(
    model: Path, images: Path, query: str, count: int, layer: str | None, output: Path,
    skip_broken: bool,
) -> None:  # fmt: skip
    """Find the images among IMAGES that are the most similar to QUERY, by the encoder in MODEL.

    IMAGES is a folder or Parquet files, as for `sepp features`, or a file that this wrote: then the
    query alone is embedded. QUERY is an image file, or its path within IMAGES; it is not found
    itself. Similarity is the cosine of features. Prints a table, and writes a page with pictures.
    """
    about = read_about(images)
    among = None if about else Images(images)
    file = next((name for name in (query, str(images / query)) if is_there(name)), None)
    if file is None:
        raise SeppError(f"{query}: no such image file, nor one within {images}")
    picture = open_image(file)
    from stages.retrieval.embedding import embed_images  # here, since it loads torch
    from stages.retrieval.page import render
    from stages.retrieval.table import print_hits
    from stages.ssl.encoder import Encoder, weights_digest
    from stages.ssl.inference import device

    encoder = Encoder.load(model).to(device())
    if about:
        _check(about, images, weights_digest(encoder), model, layer)
        layer = about.layer
    layer = layer or "backbone"
    encoder.dim(layer)  # or an error
    if among:
        blocks = embed_images(encoder, among, layer, skip_broken, model)
    else:
        blocks = read_features(images)
    hits = nearest(encoder.embed([picture], layer)[0].numpy(), blocks, count, Path(file))
    page = render(picture, file, hits, str(model), str(images))
    with artifacts.named_output(output, "-o"), artifacts.atomic(output) as partial:
        partial.write_text(page, encoding="utf-8")
    print_hits(hits, output)


def _check(about: About, file: Path, digest: str, model: Path, layer: str | None) -> None:
    """Raises SeppError unless the features in `file` may be compared with the encoder's."""
    if about.encoder != digest:
        raise SeppError(
            f"{file}: holds the features of another encoder than {model}; make it again with "
            "`sepp features`"
        )
    if layer not in (None, about.layer):
        raise SeppError(f"{file}: holds features of the {about.layer}, not of the {layer}")
