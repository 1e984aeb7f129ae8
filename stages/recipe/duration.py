"""Lengths of time as people write them: 30m, 8h, 1h30m."""

from __future__ import annotations

import math
import re

from stages.common.errors import SeppError

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
PATTERN = re.compile("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in UNITS))


def seconds_of(text: str) -> float:
    """Raises SeppError for what is no length of time, or none at all."""
    parts = PATTERN.fullmatch(text.strip().lower())
    numbers = parts.groups(default="0") if parts else ()
    total = sum(float(n) * unit for n, unit in zip(numbers, UNITS.values(), strict=False))
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()) and float(text):
        raise SeppError(f"--budget: {text!r}: give a unit, e.g. {text.strip()}m")
    if not total:
        raise SeppError(f"--budget: {text!r} is no length of time; 30m, 8h, 2d and 1h30m are")
    return total


def spoken(seconds: float) -> str:
    """To two figures or so: 45 s, 12 min, 3 h 20 min, 4 days."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(hours / 24)} days"


def budget_of(seconds: float) -> str:
    """The least --budget that holds `seconds`: whole minutes, or hours from three on."""
    minutes = max(1, math.ceil(seconds / 60))
    return f"{minutes}m" if minutes < 180 else f"{math.ceil(minutes / 60)}h"
