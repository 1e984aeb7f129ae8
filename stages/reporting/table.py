"""The result as a small table on stdout, for a terminal and a log alike."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from stages.reporting.summary import featured, headline, plus_minus, signed, verdict


def print_summary(summary: dict, page: Path) -> None:
    """Print what `summarise` made, and that `page` holds the rest."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(headline(summary).replace("\N{NO-BREAK SPACE}", ""))  # rich breaks lines there
    pairs = summary["pairs"]
    found = f"{pairs['count']:,} pairs, which cover {pairs['anchors_covered']:,} images"
    right = f", {pairs['accuracy']:.1%} with equal labels" if pairs["accuracy"] is not None else ""
    console.print(f"Mined {found}{right}{_note(pairs)}.")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for name in ("linear top-1, %", "kNN top-1, %", "gain, points", "seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    for arm, numbers in summary["arms"].items():
        linear = plus_minus(numbers["top1_mean"], numbers["top1_std"])
        knn = plus_minus(numbers["knn_mean"], numbers["knn_std"])
        table.add_row(arm, linear, knn, signed(summary["gain"].get(arm)), str(numbers["n"]))
    console.print(table)
    for arm, gain in summary["gain"].items():
        if gain is not None and arm != featured(summary):  # whose gain the first line is about
            console.print(f"Gain of {arm}: {verdict(summary, arm)}.")
    console.print("Last epoch; ± is the sample standard deviation over seeds.")
    console.print(f"Report: {page}", soft_wrap=True)  # a path broken in two cannot be clicked


def _note(numbers: dict) -> str:
    return f" ({numbers['note']})" if "note" in numbers else ""
