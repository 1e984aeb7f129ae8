"""The report as one HTML file that needs nothing else: no network, no second file, and but for the
explorer no script."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass

from markupsafe import Markup

from stages.reporting import charts, further, words
from stages.reporting.breakdown import FIRST_CLASSES, PARTNERS, Breakdown
from stages.reporting.explorer import Explorer
from stages.reporting.gallery import Card
from stages.reporting.inputs import Rows, Runs
from stages.reporting.scores import ScoreSection
from stages.reporting.sprite import Sprite, make_sprite
from stages.reporting.templates import HERE, templates

MOST = 4_900_000  # bytes of the page
SPRITE = 3_200_000  # of these, at most, for the explorer's pictures
# In this order, as one script whose names are its own.
SCRIPTS = ("statistics", "explored", "pictures", "curve", "explorer", "answers", "judge", "start")
EXTRA_ROWS = {  # what an arm trains on beside every image
    "vanilla": "nothing more: the baseline",
    "sepp": "the mined semantic pairs",
    "duplicate": "as many rows of an image with itself",
    "random": "as many random pairs",
    "oracle": "as many pairs of equal labels",
}
CONTROLS = ("duplicate", "random")


@dataclass(frozen=True)
class Findings:
    """All that the page shows."""

    summary: dict
    changed: str | None  # since the results were made
    mining: dict
    runs: Runs
    interval: tuple[float, float]  # similarity of the pairs, both inclusive
    per_image: float | None  # pairs that were asked for, where not by similarity
    methods: tuple[str, str]  # of the sampler and of the arms
    curve: Rows
    sampler: Rows  # empty if the sampler was not trained here
    histories: dict[str, list[Rows]]
    gallery: list[Card]
    explorer: Explorer
    scores: ScoreSection | None = None
    breakdown: Breakdown | None = None  # None: there are no pairs


def render(findings: Findings) -> str:
    """The whole page, at most 5 MB; the same findings give the same bytes."""
    page, known = templates(HERE).get_template("page.html.j2"), _context(findings)
    explorer = findings.explorer
    rest = len(page.render(known, sprite=None, explored=_json(explorer.data)).encode())
    sprite = make_sprite(explorer.thumbnails, min(SPRITE, MOST - rest))
    explored = explorer.data | {"sprite": _places(sprite)}
    return page.render(known, sprite=sprite, explored=_json(explored))


def _context(findings: Findings) -> dict:
    """What the template reads, but for the explorer's pictures."""
    every = [run for results in findings.runs.values() for run in results]
    evaluated = [run for run in every if "skipped" not in run]
    arms = findings.runs.keys()
    rounds = {name: words.again(findings.summary, name) for name in findings.summary["rounds"]}
    notes: dict[str, list[str]] = {}
    for arm, numbers in findings.summary["arms"].items():
        if "note" in numbers:
            notes.setdefault(numbers["note"], []).append(arm)
    kinds = [card.kind for card in findings.gallery]
    shown = [card for card in findings.gallery if card.sampled]
    script = _script()
    return vars(findings) | {
        "words": words,
        "further": further,
        "extra_rows": EXTRA_ROWS | rounds,
        "main": words.featured(findings.summary),
        "every": [(arm, run) for arm, results in findings.runs.items() for run in results],
        "evaluated": evaluated,
        "notes": notes,
        "epochs": _listed({run.get("epochs") for run in every}),
        "seeds": _listed({run["seed"] for run in every}),
        "top5": any("linear_top5" in run for run in evaluated),
        "continued": findings.summary["sampler"]["continued"],
        "unequal_steps": any(
            words.steps_mark(gain or {}) for gain in findings.summary["gain"].values()
        ),
        "compared": words.compared(findings.summary),
        "absent": [arm for arm in CONTROLS if arm not in arms and "sepp" in arms],
        "kinds": sorted(set(kinds)),
        "shown": shown,
        "right": sum(card.kind == "same" for card in shown),
        "charts": _charts(findings, evaluated),
        "first_classes": FIRST_CLASSES,
        "partners_shown": PARTNERS,
        "script": Markup(script),
        "script_digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _script() -> str:
    files = [(HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return f'"use strict";\n(() => {{\n{"".join(files)}}})();\n'


def _json(value: dict) -> Markup:
    """For a script element, which ``<`` could end."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _places(sprite: Sprite | None) -> dict | None:
    """Where the script finds each picture; its data are an image's of the page."""
    return sprite and {name: value for name, value in vars(sprite).items() if name != "uri"}


def _charts(findings: Findings, evaluated: list[dict]) -> dict[str, Markup]:
    """The SVG of each chart that there are numbers for."""
    drawn = {"arms": charts.training_chart("arms", findings.histories)}
    if any(row["pairs"] for row in findings.curve):
        drawn["thresholds"] = charts.threshold_chart(
            findings.curve, *findings.interval, findings.mining["chance"]
        )
    if findings.sampler:
        drawn["sampler"] = charts.training_chart("sampler", {"sampler": [findings.sampler]})
    if curves := _neighbours(findings):
        drawn["neighbours"] = charts.neighbour_chart(curves)
    if findings.scores and findings.scores.lines:
        drawn["score_lines"] = charts.score_lines_chart(findings.scores.lines)
    if len(evaluated) > len(findings.runs):  # some arm has several seeds
        drawn["scores"] = charts.score_chart(findings.runs)
    return {name: Markup(svg) for name, svg in drawn.items()}


def _neighbours(findings: Findings) -> list[charts.Curve]:
    """Shares of equal labels by optimiser step: of what methods picked while they trained, beside
    that of the mined pairs. Empty if no method picked anything."""
    sampler, pretrain = findings.methods
    picked = [(f"{sampler} picks, sampler", "sampler", findings.sampler)]
    for arm, histories in findings.histories.items():
        picked += [(f"{pretrain} picks, {arm}", arm, history) for history in histories]
    picks = [
        charts.Curve(label, colour, rows, "neighbour_accuracy")
        for label, colour, rows in picked
        if any(row.get("neighbour_accuracy") is not None for row in rows)
    ]
    accuracy = findings.mining["accuracy"]
    if not picks or accuracy is None:
        return picks
    steps = sorted({row["step"] for curve in picks for row in curve.rows})
    level = [{"step": step, "accuracy": accuracy} for step in steps]
    return [charts.Curve("mined pairs", "pairs", level, "accuracy"), *picks]


def _listed(values: set) -> str:
    """Numbers as people list them; what is unknown is left out."""
    return ", ".join(str(value) for value in sorted(values - {None}))
