"""Writes docs/params.md, the reference of params.yaml, from the models that check it and the
comments of the presets:

    python docs/params.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.common.params import AllParams
from stages.common.sections import plugin, plugins
from stages.recipe.text import ENTRY, PRESETS, named_lines, preset, values_of
from stages.ssl.methods import MethodParams, find_method

PAGE = Path(__file__).with_suffix(".md")
SHOWN = ("characters", "cifar10", "imagenet")  # presets whose values are told
COMMENT = re.compile(r"^( *)# ?(.*)$")
BOUNDS = [
    ("minimum", "≥"),
    ("exclusiveMinimum", ">"),
    ("maximum", "≤"),
    ("exclusiveMaximum", "<"),
]
BIG = 2**20
HEAD = """# Parameters

Every key of params.yaml: which values it takes, its value in three presets, and what it is. Another
value is set by `dvc exp run -S section.key=value`, or in the file.
(Written by `python docs/params.py`.)
"""


def page() -> str:
    schema = AllParams.model_json_schema()
    values = {name: values_of(preset(name)) for name in SHOWN}
    told = comments()
    parts, alone = [], []
    for name, field in schema["properties"].items():
        kind = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2])
        if kind:
            parts.append((name, kind))
        elif name == "methods":
            parts += [
                (f"methods.{one}", find_method(one).Params.model_json_schema())
                for one in plugins("ssl/methods")
            ]
        elif name in plugins("evaluation"):
            parts.append((name, plugin("evaluation", name).Params.model_json_schema()))
        else:
            alone.append((name, field))
    first = _table([(name, name, field) for name, field in alone], values, told)
    tables = ["## Beside the sections\n\n" + first]
    for section, kind in parts:
        rows = [(leaf, f"{section}.{leaf}", field) for leaf, field in kind["properties"].items()]
        tables.append(f"## {section}\n\n{_table(rows, values, told)}")
    return "\n\n".join([HEAD.strip(), *tables]) + "\n"


def _table(rows: list, values: Mapping[str, dict], told: Mapping[str, str]) -> str:
    lines = [f"| | takes | {' | '.join(SHOWN)} | |", "|---|---|" + "---|" * (len(SHOWN) + 1)]
    for leaf, name, field in rows:
        shown = [_value(values[one], name, field) for one in SHOWN]
        # Methods share leaves, and so do the two trainings: one of each has the comment.
        alike = {"methods": f"methods.*.{leaf}", "pretrain": f"sampler.{leaf}"}
        comment = told.get(name) or told.get(alike.get(name.partition(".")[0], ""), "")
        cells = [f"`{leaf}`", takes(field), *shown, comment]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _value(values: Any, name: str, field: Mapping[str, Any]) -> str:
    """In a preset; where it leaves the key out, the default."""
    for part in name.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return _text(field["default"]) if "default" in field else "–"
        values = values[part]
    return _text(values)


def _text(value: Any) -> str:
    told = json.dumps(value)
    return f"`{told}`" if isinstance(value, str | list | dict) else told


def takes(field: Mapping[str, Any]) -> str:
    """Which values, by JSON schema."""
    if "anyOf" in field:
        return " or ".join(takes(one) for one in field["anyOf"])
    if "enum" in field:
        return " ".join(f"`{one}`" for one in field["enum"])
    kind = field.get("type", "object")
    if kind == "array":
        if "prefixItems" in field:
            return f"{len(field['prefixItems'])} numbers"
        return f"list: {takes(field.get('items', {}))}"
    name = {"null": "null", "string": "text", "boolean": "true or false", "object": "a block"}
    if kind in name:
        return name[kind]
    # Bounds that nobody comes near are of the file's format.
    bounds = [f"{sign} {field[key]:g}" for key, sign in BOUNDS if abs(field.get(key, BIG)) < BIG]
    return " ".join(["whole number" if kind == "integer" else "number", *bounds])


def comments() -> dict[str, str]:
    """What the presets say of a key, by its dotted name; the first that says something counts."""
    found: dict[str, str] = {}
    for name in dict.fromkeys((*SHOWN, *(file.stem for file in sorted(PRESETS.glob("*.yaml"))))):
        for key, comment in _comments(preset(name)):
            found.setdefault(key, comment)
            if key.startswith("methods.") and key.rpartition(".")[2] in MethodParams.model_fields:
                found.setdefault(f"methods.*.{key.rpartition('.')[2]}", comment)
    return found


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """(dotted name, comment) of each commented key: what stands behind it and goes on below, or
    else above it."""
    name, said, above = "", [], []
    for key, line in [*named_lines(text), ("", "")]:
        if more := COMMENT.match(line):
            below = name and said and len(more[1]) > 15
            (said if below else above).append(more[2].strip())
            continue
        if said:
            yield name, " ".join(said)
        name, behind = key, ENTRY.match(line)[4] if key else None
        said = [behind.lstrip("# ")] if behind else above if key else []
        above = []


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
