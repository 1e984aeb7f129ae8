"""The result as a small table on stdout, for a terminal and a log alike."""

from __future__ import annotations

import re
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from stages.reporting import words
from stages.reporting.further import caution, lines


def print_summary(summary: dict, page: Path, changed: str | None = None) -> None:
    """Print what `summarise` made, that `page` holds the rest, and what has `changed` since."""
    console = Console(highlight=False, markup=False, emoji=False)

    def say(text: str) -> None:
        console.print(re.sub("(?<=[0-9])\N{NO-BREAK SPACE}%", "%", text))  # rich breaks lines there

    if changed:
        say(
            "NOTE: these results are of other params, code or data than this checkout's "
            f"(changed since: {changed}); `dvc repro` makes them anew."
        )
    say(words.headline(summary))
    data, pairs = summary["data"], summary["pairs"]
    found = f"{pairs['count']:,} pairs, which cover {pairs['anchors_covered']:,} images"
    console.print(
        f"Data: {data['name']}, {data['train']:,} training and {data['test']:,} test images."
    )
    say(f"Mined {found}{_right(pairs)}.")
    for name, one in summary["rounds"].items():
        say(f"{name}, {words.again(summary, name)} (means over seeds): {words.mined(one)}.")
    console.print(_arms(summary))
    for arm, gain in summary["gain"].items():
        if gain is None:
            continue
        if arm != words.featured(summary):  # whose gain the first line is about
            say(f"Gain of {arm}{words.steps_mark(gain)}: {words.verdict(gain['linear'])}.")
        else:
            say(f"By kNN {words.signed(gain['knn']['mean'])} points: {words.verdict(gain['knn'])}.")
        if further := words.sensitivity(gain["linear"], words.compared(summary)):
            say(f"{arm}: {further}.")
    for line in filter(None, (words.shares(summary), words.cost(summary))):
        say(line)
    for name, evaluation in summary["evaluations"].items():
        if evaluation["titles"]:
            console.print(_further(name, evaluation))
        for note in evaluation["notes"]:
            say(f"{name}: {note}.")
    if cautious := caution(summary):
        say(cautious)
    say(
        f"Top-1 of the last epoch; ± is the sample standard deviation over {_seeds(summary)}, a "
        "gain the mean of the paired differences to vanilla in points, with its 95 % interval; "
        "* significant at 5 %."
        f"{_beside(summary)}"
    )
    console.print(f"Report: {page}", soft_wrap=True)  # a path broken in two cannot be clicked


def _arms(summary: dict) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for name in ("linear, %", "kNN, %", "gain, linear", "gain, kNN"):
        table.add_column(name, justify="right", no_wrap=True)
    for arm, numbers in summary["arms"].items():
        scores = (
            words.plus_minus(numbers[f"{name}_mean"], numbers[f"{name}_std"])
            for name in ("top1", "knn")
        )
        gain = summary["gain"].get(arm) or {}
        gains = (gain_cell(gain[name]) if gain else "–" for name in ("linear", "knn"))
        table.add_row(arm, *scores, *gains)
    return table


def _further(name: str, evaluation: dict) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(name, no_wrap=True)
    table.add_column("arm", no_wrap=True)
    for heading in ("%", "gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = None
    for line in lines(evaluation):
        title = line.title if line.title != last else ""
        score = words.plus_minus(line.mean, line.deviation)
        table.add_row(title, line.arm, score, gain_cell(line.gain) if line.gain else "–")
        last = line.title
    return table


def _seeds(summary: dict) -> str:
    counts = sorted({numbers["n"] for numbers in summary["arms"].values()})
    return f"{' or '.join(map(str, counts))} seed{'s' * (counts != [1])}"


def gain_cell(gain: dict) -> str:
    """The mean, and beneath it its 95 % interval; a star where it is significant."""
    mean = words.signed(gain["mean"]) + "*" * words.significant(gain)
    bounds = [words.signed(gain[bound]) for bound in ("low", "high")]
    return mean if gain["low"] is None else f"{mean}\n[{', '.join(bounds)}]"


def _right(pairs: dict) -> str:
    """How right the pairs are, as the end of a sentence."""
    if pairs["accuracy"] is None:
        return f" ({pairs['note']})"
    bounds = f"{pairs['accuracy_low']:.1%} to {pairs['accuracy_high']:.1%}"
    kind = words.right_words(pairs)
    right = f", {pairs['accuracy']:.1%} {kind} (95 % interval {bounds})"
    chance = words.chance_words(pairs)
    return f"{right}{f'; {chance}' if chance else ''}{_note(pairs)}"


def _beside(summary: dict) -> str:
    """The uncertainty that no interval over seeds holds."""
    shared = (
        " All seeds share one sampler and one set of pairs" if "sepp" in summary["arms"] else ""
    )
    if summary["test_error"] is None:
        return f"{shared}." if shared else ""
    images = f"{shared}, and" if shared else " All share"
    return (
        f"{images} {summary['data']['test']:,} test images, whose choice alone leaves an accuracy "
        f"uncertain by ±{summary['test_error']:.2f} points."
    )


def _note(numbers: dict) -> str:
    return f" ({numbers['note']})" if "note" in numbers else ""
