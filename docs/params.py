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

from stages.common.all_params import AllParams
from stages.common.param_file import EVALUATIONS, METHODS, PARAMS
from stages.common.plugins import plugin, plugins
from stages.recipe.text import ENTRY, PRESETS, named_lines, preset, values_of
from stages.ssl.methods import MethodParams, find_method

PAGE = Path(__file__).with_suffix(".md")
FILES = (PARAMS, METHODS, EVALUATIONS)
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

Every key of params.yaml, and of methods.yaml and evaluations.yaml beside it: which values it takes,
its value in three presets, and what it is. Another value is set by
`dvc exp run -S section.key=value`, by `-S methods.yaml:byol.base_lr=0.2`, or in the file.
(Written by `python docs/params.py`.)
"""
# What the presets do not say of a key, or say of their own value; by its dotted name.
MORE = {
    "views.crop_area": "share of the image that a random crop covers",
    "views.crop_ratio": "width by height of a random crop",
    "views.flip": "probability that left and right are exchanged",
    "views.brightness": "strength: times 1 ± so much",
    "views.contrast": "strength: times 1 ± so much",
    "views.saturation": "strength: times 1 ± so much",
    "views.hue": "strength: turned by ± so much of the circle",
    "views.grayscale": "probability that the colours are removed",
    "views.blur": "probability; sigma in [0.1, 2.0] pixels",
    "views.mean": "of R, G, B in [0, 1], which views are normalised with",
    "views.std": "as mean",
    "seeds": "one training of each arm for each; of its weights, order and views",
    "sampler.epochs": "passes over the rows; pretrain's with the sampler's, if it goes on",
    "embed.batch_size": "images per forward pass",
    "sepp.max": "of the range of similarity, inclusive",
    "sepp.max_per_anchor": "at most so many pairs of an image, drawn by hash; null: all",
    "sepp.max_pairs": "at most so many pairs in all, drawn by hash; null: all",
    "methods.*.views": "what of the section views is another for the method",
    "methods.*.first_view": "what of that is another for the anchor's view",
    "methods.*.second_view": "what of that is another for the positive's view",
    "methods.*.weight_decay": "of the weights; biases and norms are spared where the authors do so",
    "methods.*.sgd_momentum": "of sgd and lars",
    "methods.*.temperature": "that similarities are divided by",
    "methods.*.hidden_dim": "units of a hidden layer of the projection",
    "methods.*.output_dim": "of the projection, which pairs are mined from",
    "methods.*.prototypes": "number of them",
    "methods.*.local_size": "pixels, edge of a small crop",
    "methods.*.local_area_min": "share of the image that a small crop covers, at least",
    "methods.*.local_area_max": "the same, at most",
    "methods.simsiam.hidden_dim": "of the projection; its output, too, which pairs are mined from",
    "methods.barlow_twins.projection_dim": "units of each layer of the projection, and its output",
    "methods.vicreg.invariance": "weight of the distance between the two views",
    "methods.vicreg.variance": "weight of the hinge on the standard deviations",
    "methods.vicreg.covariance": "weight of the off-diagonal covariances",
    "methods.vicreg.expander_dim": "units of each layer of the expander, and its output",
    "methods.dino.student_temperature": "that the student's scores are divided by",
    "methods.dino.teacher_temperature": "that the teacher's are, after the warm-up",
    "methods.dino.warmup_temperature_epochs": "in which it gets there",
    "methods.dino.center_momentum": "of the centre of the teacher's scores",
    "methods.dino.bottleneck_dim": "of the head, which pairs are mined from",
    "linear_eval.epochs": "of the linear classifier's training",
    "linear_eval.lr": "at first, with this batch size",
    "linear_eval.milestones": "epochs after which the rate is divided by ten",
    "linear_eval.batch_size": "images per step",
    "linear_eval.knn_k": "neighbours that vote",
    "linear_eval.knn_temperature": "that their similarity is divided by, before it weighs a vote",
    "detection.iterations": "steps of the training",
    "*.epochs": "of the fine-tuning",
    "*.milestones": "epochs after which the rates are multiplied with decay",
    "*.weight_decay": "of the fine-tuning",
    "transfer.lr": "of the backbone",
}


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
    for section, kind in sorted(parts, key=lambda part: FILES.index(_file(part[0]))):
        rows = [(leaf, f"{section}.{leaf}", field) for leaf, field in kind["properties"].items()]
        file, name = _file(section), section.removeprefix("methods.")
        title = name if file == PARAMS else f"{name}, in {file}"
        tables.append(f"## {title}\n\n{_table(rows, values, told)}")
    return "\n\n".join([HEAD.strip(), *tables]) + "\n"


def _file(section: str) -> str:
    """That has it."""
    if section.startswith("methods."):
        return METHODS
    return EVALUATIONS if section in plugins("evaluation") else PARAMS


def _table(rows: list, values: Mapping[str, dict], told: Mapping[str, str]) -> str:
    lines = [f"| | takes | {' | '.join(SHOWN)} | |", "|---|---|" + "---|" * (len(SHOWN) + 1)]
    for leaf, name, field in rows:
        shown = [_value(values[one], name, field) for one in SHOWN]
        comment = next((told[key] for key in _names(name, leaf) if key in told), "")
        cells = [f"`{leaf}`", takes(field), *shown, comment]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _names(name: str, leaf: str) -> list[str]:
    """By which something may be told of a key: methods share leaves, and so do the two trainings,
    and evaluations: one of each has the comment."""
    alike = {"methods": f"methods.*.{leaf}", "pretrain": f"sampler.{leaf}"}
    return [name, alike.get(name.partition(".")[0], f"*.{leaf}")]


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
    """What is said of a key here, or in the presets, by its dotted name; the first counts."""
    found = dict(MORE)
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
