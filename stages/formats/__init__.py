"""Forms in which an encoder leaves for other libraries: one file each, found by its name.

A format's module has

    SUFFIX                        what the name of its file ends in; "" for a folder
    LAYERS                        those that it can hold
    write(encoder, layer, path)   writes the file, or the folder
    usage(encoder, layer, name)   Python that loads what has that name, and takes photo.jpg to
                                  `features` (1, D), without this package
    left(path)                    of a folder: names of the files in it that an earlier export
                                  wrote, and that not every export writes

The first two functions raise ExportError for an encoder that the format has no words for.
"""

from __future__ import annotations

from stages.common.errors import SeppError
from stages.ssl.encoder import Encoder, weights_digest
from stages.ssl.preprocessing import shorter_edge


class ExportError(SeppError):
    """A format has no words for an encoder, or a library that it takes is not installed."""


def facts(encoder: Encoder, layer: str) -> dict[str, object]:
    """What a file says of itself, for programs: how images are preprocessed, and whose weights."""
    config = encoder.config
    return {
        "image_size": config.image_size,  # S: an image of S x S pixels is taken as it is
        "shorter_edge": shorter_edge(config.image_size),  # else resized to it, then centre-cropped
        "interpolation": "bilinear",
        "mean": list(config.mean),  # of RGB in [0, 1]
        "std": list(config.std),
        "backbone": config.backbone,
        "stem": config.stem,
        "layer": layer,
        "features": encoder.dim(layer),
        "encoder": weights_digest(encoder),
    }
