"""Nearest images, as a table on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from stages.retrieval.nearest import Hit


def print_hits(hits: Sequence[Hit], page: Path) -> None:
    """Print them, the first first, and where the page is; a path is never broken."""
    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", justify="right")
    table.add_column("similarity", justify="right")
    labelled = any(hit.label is not None for hit in hits)
    if labelled:
        table.add_column("label", no_wrap=True)
    table.add_column("image", no_wrap=True)
    for rank, hit in enumerate(hits, 1):
        label = [hit.label or "–"] if labelled else []
        table.add_row(str(rank), f"{hit.similarity:.4f}", *label, hit.path)
    console.width = max(console.width, console.measure(table).maximum)
    console.print(table)
    console.print(f"Page: {page}", soft_wrap=True)
