"""The comparison as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

from stages.comparison.charts import gain_chart
from stages.comparison.rows import BREAK, Comparison
from stages.reporting import words
from stages.reporting.templates import templates

HERE = Path(__file__).parent
CHARTS = {"linear": "Gain in linear top-1, points", "knn": "Gain in kNN top-1, points"}


def render(found: Comparison) -> str:
    """The whole page; the same rows give the same bytes."""
    environment = templates(HERE)
    environment.filters |= {"breakable": breakable, "coded": coded}
    gained = [row for row in found.rows if row.gain]
    drawn = {name: gain_chart(name, title, gained) for name, title in CHARTS.items() if gained}
    return environment.get_template("compare.html.j2").render(
        rows=found.rows,
        arms=found.arms,
        reading=found.reading,
        warnings=found.warnings,
        left_out=found.left_out,
        charts={name: Markup(svg) for name, svg in drawn.items()},
        words=words,
    )


def breakable(text: str) -> Markup:
    """`text` with a place to break between the words of a long name, and nowhere within them."""
    return Markup("<wbr>").join(BREAK.split(text))


def coded(text: str) -> Markup:
    """`text` with its commands, which stand between backticks, as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))
