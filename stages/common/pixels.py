"""An image file, decoded."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from stages.common.errors import BrokenImage


def decode(source: Path | bytes, name: str) -> Image.Image:
    """The image in RGB; raises BrokenImage, which calls it `name`."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise BrokenImage(name, error) from None
