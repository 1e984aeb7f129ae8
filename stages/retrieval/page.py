"""Nearest images, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from stages.common.errors import DataError
from stages.reporting.gallery import Thumbnail, thumbnail
from stages.reporting.templates import templates
from stages.retrieval.images import open_image
from stages.retrieval.nearest import Hit

EDGE = 192  # pixels, longest side of a picture


def render(query: Image.Image, name: str, hits: Sequence[Hit], encoder: str, of: str) -> str:
    """The whole page; an image that is gone is named without its picture.

    Args:
        query: in RGB; `name` is its file's.
        encoder, of: folder of the encoder, and where images were looked for.
    """
    return (
        templates(Path(__file__).parent)
        .get_template("similar.html.j2")
        .render(
            query=thumbnail(query.copy(), EDGE),
            name=name,
            hits=[(hit, _picture(hit.path)) for hit in hits],
            encoder=encoder,
            of=of,
        )
    )


def _picture(path: str) -> Thumbnail | None:
    try:
        return thumbnail(open_image(path), EDGE)
    except DataError:
        return None
