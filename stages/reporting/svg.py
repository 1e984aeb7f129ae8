"""Inline SVG that takes its colours and its font from the page, so dark mode just works.

matplotlib draws with stand-in colours, which are then replaced by CSS variables.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.figure import Figure

WIDTH = 5.4  # inches; narrow, so that the text is still legible on a phone
TOKENS = ("ink", "line", "panel", "chosen", "pairs")
ARMS = ("vanilla", "sepp", "duplicate", "random", "oracle", "sampler", "round")
COLOURS = {name: f"#0101{number:02x}" for number, name in enumerate(TOKENS + ARMS)}
DASHES = {  # an arm is told by its line, too, not by its colour alone
    "vanilla": (0, (5, 1.5)),
    "duplicate": (0, (5, 1.5, 1, 1.5)),
    "random": (0, (1, 1.2)),
    "oracle": (0, (8, 1.5, 1, 1.5, 1, 1.5)),
}
STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "axes.edgecolor": COLOURS["line"],
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), COLOURS["ink"]),
    **dict.fromkeys(("xtick.color", "ytick.color"), COLOURS["ink"]),
}


def colour_of(arm: str) -> str:
    """An arm's own colour; rounds share one."""
    return COLOURS.get(arm, COLOURS["round"])


def dash_of(arm: str, arms: Sequence[str]) -> object:
    """An arm's own line; rounds have the shorter dashes the later they are among `arms`."""
    if arm in COLOURS:
        return DASHES.get(arm, "-")
    rounds = [name for name in arms if name not in COLOURS]
    return (0, (1 + 6 * (1 - rounds.index(arm) / len(rounds)), 1))


def to_svg(name: str, draw: Callable[[Figure], None], height: float, label: str) -> str:
    """What `draw` draws as an `<svg>` element for HTML, the same bytes every time."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc would change the bytes
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        stream = io.StringIO()
        undated = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=undated, transparent=True)
    text = stream.getvalue()
    box = re.search(r'viewBox="([^"]+)"', text)[1]
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)  # the page's
    body = re.sub(r' id="(?![pm][0-9a-f]{10}")[^"]*"', "", body)  # only clips and markers are used
    body = body.replace(' id="', f' id="{name}-').replace("url(#", f"url(#{name}-")
    body = body.replace('xlink:href="#', f'href="#{name}-')
    for token, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{token})")
    return f'<svg viewBox="{box}" role="img" aria-label="{label}">{body.strip()}'
