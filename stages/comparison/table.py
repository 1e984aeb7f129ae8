"""Experiments side by side, as a table on a terminal of 100 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import TextWrapper

from rich import box
from rich.console import Console
from rich.table import Table

from stages.comparison.rows import BREAK, Comparison, Row
from stages.reporting.table import gain_cell

WIDTH = 100  # columns
GAP = 2  # columns, between those of the table: a padding and a divider
NARROW = 12  # columns, which names have at least, however narrow the terminal is
COLUMNS = ("pairs", "right, %", "gain, linear", "gain, kNN", "steps")


class _Wrapper(TextWrapper):
    """Breaks a long name where its words end."""

    wordsep_re = re.compile(rf"(\s+)|{BREAK.pattern}")


def print_comparison(found: Comparison, page: Path) -> None:
    """Print the rows, how to read them, what is left out and why, and where the page is."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH

    def say(text: str) -> None:
        console.print("\n".join(_lines(text, console.width)))

    console.print(_table(found, console.width), crop=False)
    console.print()
    for line in found.reading:
        say(line)
    for names, told in found.warnings:
        say(f"{names}: {told}.")
    for name, reason in found.left_out:
        say(f"Left out: {name} ({reason}).")
    console.print(f"Charts: {page}", soft_wrap=True)  # a path broken in two cannot be clicked


def _table(found: Comparison, width: int) -> Table:
    cells = [_numbers(row) for row in found.rows]
    widths = [
        max(len(line) for cell in column for line in cell.splitlines())
        for column in zip(COLUMNS, *cells, strict=True)
    ]
    rest = sum(widths) + GAP * len(widths)
    left = max(NARROW, width - rest)
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), show_edge=False,
        width=None if left + rest <= width else left + rest,
    )  # fmt: skip
    table.add_column("experiment", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    several = len(found.arms) > 1
    for row, numbers in zip(found.rows, cells, strict=True):
        told = "\n".join(line for text in _told(row, several) for line in _lines(text, left))
        table.add_row(told, *numbers)
    return table


def _told(row: Row, several: bool) -> Iterator[str]:
    """The name, and beneath it what is another than in the first row."""
    yield row.name
    if row.origin:
        yield f"  from {row.origin}"
    if several and row.gain:
        yield f"  gain of {row.arm}"
    if row.changed:
        yield "  changed since, see below"
    for one in row.settings:
        yield f"  {one}"


def _numbers(row: Row) -> list[str]:
    """Cells; an interval stands beneath its number."""
    share, bounds = row.right
    right = f"{share}\n[{', '.join(bounds)}]" if bounds else share
    gains = [gain_cell(row.gain[name]) if row.gain else "–" for name in ("linear", "knn")]
    steps = "–" if row.steps is None else f"{row.steps:,}"
    return [f"{row.pairs['count']:,}", right, *gains, "\n".join(filter(None, (steps, row.ratio)))]


def _lines(text: str, width: int) -> list[str]:
    """`text` in lines of `width` columns; those after the first are set in where it is."""
    inset = " " * (len(text) - len(text.lstrip()))
    return _Wrapper(width, subsequent_indent=inset * 2).wrap(text)
