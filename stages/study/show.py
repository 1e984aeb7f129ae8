"""A study written down: Markdown, CSV, and a page, each with all rows and the paper's numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from stages.common import artifacts
from stages.comparison.page import coded
from stages.reporting import words
from stages.reporting.statistics import ALPHA, Gain
from stages.reporting.summary import BASELINE
from stages.reporting.templates import templates
from stages.study.chart import gains_chart
from stages.study.plan import Plan
from stages.study.results import Outcome
from stages.study.spec import TABLES
from stages.study.table import GAINS, Cell, Line, Spent, lines, spent

HERE = Path(__file__).parent
NONE = "–"
TITLES = {
    "pairs": "pairs",
    "accuracy": "right, %",
    "neighbours": "neighbours right, %",
    "linear": "linear, %",
    "knn": "kNN, %",
    "hours": "hours",
}
NAMES = {"linear": "linear", "knn": "kNN"}


class Report(NamedTuple):
    """A study's table, as text: what Markdown and the page show alike."""

    title: str
    warning: str | None  # that it is a rehearsal
    about: list[str]  # paragraphs
    header: list[str]
    texts: int  # columns before those of numbers
    rows: list[list[str]]
    reading: list[str]  # how the rows are to be read
    chart: Markup | None
    paper: bool  # whether its numbers are there
    command: str  # that runs the study


def write(plan: Plan, found: Sequence[Outcome], folder: Path = TABLES) -> list[Path]:
    """Write the study's three files; their paths."""
    table, costs = lines(plan, found), spent(found)
    report = make_report(plan, found, table, costs)
    paths = [folder / f"{plan.name}.{kind}" for kind in ("md", "csv", "html")]
    for path, text in zip(paths[::2], (markdown(report), page(report)), strict=True):
        with artifacts.atomic(path) as partial:
            partial.write_text(text, encoding="utf-8")
    every = records(plan, table)
    with artifacts.atomic(paths[1]) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(every[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(every)
    return paths


def make_report(
    plan: Plan, found: Sequence[Outcome], table: Sequence[Line], costs: Spent | None
) -> Report:
    columns = list(_columns(plan, table))
    header = [*plan.study.axes, *([] if plan.study.until else ["arm"]), "seeds"]
    drawn = gains_chart(plan, table)
    return Report(
        title=f"{'Rehearsal: ' if plan.choice.scale else ''}{plan.study.title}",
        warning=_rehearsal(plan.choice.scale) if plan.choice.scale else None,
        about=[plan.study.about.strip(), f"Preset `{plan.study.preset}`, on {_data(plan)}."],
        header=[*header, *(title for title, _ in columns)],
        texts=len(header),
        rows=[_row(plan, line, columns) for line in table],
        reading=list(_reading(plan, found, table, costs)),
        chart=Markup(drawn) if drawn else None,
        paper=plan.study.paper is not None,
        command=plan.command,
    )


def _columns(plan: Plan, table: Sequence[Line]) -> Iterator[tuple[str, object]]:
    """Title of each column of numbers, and how its text is made of a line."""
    for column in plan.study.columns:
        title = TITLES[column]
        yield title, lambda line, c=column: _mean(c, line.cells[c])
        if any(line.cells[column].paper is not None for line in table):
            yield f"paper: {title}", lambda line, c=column: _number(c, line.cells[c].paper)
        if column in GAINS and any(map(_compared, table)):
            name = f"gain, {NAMES[column]}"
            yield name, lambda line, c=column: _gain(line.cells[c].gain)
            if any(line.cells[column].paper_gain is not None for line in table):
                yield (
                    f"paper: {name}",
                    lambda line, c=column: words.signed(line.cells[c].paper_gain),
                )


def _compared(line: Line) -> bool:
    """Whether it can have a gain over vanilla."""
    return line.arm not in (None, BASELINE)


def _row(plan: Plan, line: Line, columns: Sequence) -> list[str]:
    known = max((len(cell.seeds) for cell in line.cells.values()), default=0)
    seeds = f"{known} of {line.planned}" if known < line.planned else f"{known}"
    states = f"{seeds} ({'; '.join(line.states)})" if line.states else seeds
    arm = [] if plan.study.until else [line.arm or NONE]
    return [*line.labels.values(), *arm, states, *(make(line) for _, make in columns)]


def _mean(column: str, cell: Cell) -> str:
    if cell.measured is None:
        return NONE
    mean = _number(column, cell.measured.mean)
    low, high = cell.measured.low, cell.measured.high
    bounds = f" [{_number(column, low)}, {_number(column, high)}]" if low is not None else ""
    return f"{mean}{bounds}"


def _number(column: str, value: float | None) -> str:
    if value is None:
        return NONE
    style = {"pairs": ",.0f", "accuracy": ".1f", "hours": ".3g"}.get(column, ".2f")
    return f"{value:{style}}".replace("-", "−")


def _gain(gain: Gain | None) -> str:
    if gain is None:
        return NONE
    bounds = [words.signed(bound) for bound in (gain.low, gain.high)]
    mean = words.signed(gain.mean) + "*" * (gain.p is not None and gain.p < ALPHA)
    return mean if gain.low is None else f"{mean} [{', '.join(bounds)}]"


def _rehearsal(scale: float) -> str:
    return (
        f"A rehearsal at scale {scale:g}, with fewer epochs and images and a small network: it "
        "shows that the study runs, and its numbers tell nothing of the real ones."
    )


def _data(plan: Plan) -> str:
    return " and ".join(dict.fromkeys(one.params["data"]["name"] for one in plan.experiments))


def _reading(
    plan: Plan, found: Sequence[Outcome], table: Sequence[Line], costs: Spent | None
) -> Iterator[str]:
    done, seeds = sum(outcome.measured for outcome in found), ", ".join(map(str, plan.seeds))
    yield (
        f"{done} of {len(found)} experiments have run; seeds: {seeds}. Each seed has a sampler, "
        "pairs, and trainings of its own. In brackets: 95 % t intervals over seeds, of which one "
        "alone has none."
    )
    if any(map(_compared, table)):
        yield (
            "Gain: the mean over seeds of paired differences to vanilla, in points; * significant "
            "at 5 % after Holm's correction over all gains of a column"
            + ("." if done == len(found) else ", of which more are to come: a * may go again.")
        )
    if paper := plan.study.paper:
        note = f"; {paper.note}" if paper.note else ""
        moved = ", and of other data than this" if plan.moved else ""
        yield f"Paper: {paper.source}, of one run each{moved}{note}."
    if "hours" in plan.study.columns:
        yield (
            "Hours: of an arm's own training, without what it goes on from, and of embedding and "
            "mining where it has pairs."
        )
    if done:
        yield _cost_words(costs)


def _cost_words(costs: Spent | None) -> str:
    if costs is None:
        return "What it cost was not recorded."
    return (
        f"All stages took {costs.hours:.1f} hours together, on {'; '.join(costs.devices)}; a "
        f"process held at most {costs.peak_mib:,} MiB"
        + (f", and {costs.peak_gpu_mib:,} MiB of a GPU." if costs.peak_gpu_mib else ".")
    )


def records(plan: Plan, table: Sequence[Line]) -> list[dict[str, object]]:
    """The same for programs, all digits kept; a list of numbers has one for each seed that ran."""
    return [
        {
            "study": plan.name,
            "rehearsal": plan.choice.scale or "",
            "data_sets": _data(plan),
            **line.labels,
            "arm": line.arm or "",
            "seeds_planned": line.planned,
            "state": "; ".join(line.states),
            **{key: x for column in plan.study.columns for key, x in _record(column, line)},
            "experiments": " ".join(line.experiments),
            "commits": " ".join(line.commits),
            "devices": "; ".join(line.devices),
        }
        for line in table
    ]


def _record(column: str, line: Line) -> Iterator[tuple[str, object]]:
    cell = line.cells[column]
    yield f"{column}_seeds", " ".join(map(str, cell.seeds))
    yield column, " ".join(map(str, cell.seeds.values()))
    parts = (
        {"mean": cell.measured, "gain": cell.gain} if column in GAINS else {"mean": cell.measured}
    )
    for name, of in parts.items():
        yield f"{column}_{name}", "" if of is None else of.mean
        for bound in ("low", "high", *(["p"] if name == "gain" else [])):
            value = getattr(of, bound, None)
            yield f"{column}_{name}_{bound}", "" if value is None else value
    yield f"{column}_paper", "" if cell.paper is None else cell.paper


def markdown(report: Report) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    numbers = len(report.header) - report.texts
    ruled = [row(report.header), row([*["---"] * report.texts, *["--:"] * numbers])]
    head = [f"# {report.title}", *([f"**{report.warning}**"] if report.warning else [])]
    table = "\n".join([*ruled, *map(row, report.rows)])
    made = f"`{report.command}` runs it; with `--show` it writes this down."
    return "\n\n".join([*head, *report.about, table, *report.reading, made]) + "\n"


def bounded(cell: str) -> tuple[str, str]:
    """A number, and its interval or what else is said of it."""
    number, sign, rest = cell.partition(" [")
    if not sign:
        number, sign, rest = cell.partition(" (")
    return number, f"{sign.strip()}{rest}"


def page(report: Report) -> str:
    environment = templates(HERE)
    environment.filters |= {"coded": coded, "bounded": bounded}
    return environment.get_template("study.html.j2").render(report._asdict())
