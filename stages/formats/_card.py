"""What goes with an exported encoder for people to read: how to load it, and what it is."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from stages.common.rounds import left_after
from stages.formats import timm
from stages.formats._history import history, measured, reported
from stages.reporting import words
from stages.reporting.templates import templates
from stages.ssl.encoder import Encoder, weights_digest
from stages.ssl.preprocessing import shorter_edge


def card(encoder: Encoder, layer: str, folder: Path, usage: str, hub: bool) -> str:
    """Markdown; for Hugging Face's hub with what it reads of a card.

    Args:
        folder: that the encoder was loaded from, of which `history` tells.
    """
    folder = folder.resolve()
    part = fnmatch(folder.name, left_after("*"))
    named = timm.registered(encoder)
    environment = templates(Path(__file__).parent, html=False)
    return environment.get_template("card.md.j2").render(
        name=f"{folder.parent.name}/{folder.name}" if part else folder.name,
        library=("timm" if named else "transformers") if hub else None,
        named=named,
        config=encoder.config,
        method=encoder.config.training.get("method"),
        layer=layer,
        features=encoder.dim(layer),
        edge=shorter_edge(encoder.config.image_size),
        digest=weights_digest(encoder),
        usage=usage,
        history=history(folder),
        measured=measured,
        reported=reported,
        words=words,
    )
