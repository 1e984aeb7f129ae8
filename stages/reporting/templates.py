"""Templates of pages, and of texts."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent  # of the style that all pages share


def templates(folder: Path, html: bool = True) -> Environment:
    """Those in `folder`, and beside this module; what `html` is given is escaped."""
    return Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not html,
    )
