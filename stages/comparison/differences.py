"""What differs between params: their leaves by dotted name, and the shortest name of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from stages.common.param_file import EVALUATIONS, METHODS, PARAMS

ABSENT = "–"  # in place of a value: another version's params.yaml has no such leaf
OF_METHODS = "methods."
CHOICES = ("sampler.method", "pretrain.method")

Leaves = dict[str, Any]


def flatten(values: dict, prefix: str = "") -> Leaves:
    """The leaves of a params file by dotted name; a list is one leaf, and so is an empty block."""
    found: Leaves = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flatten(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found


def leaves_of(files: Mapping[str, dict]) -> Leaves:
    """The leaves of params.yaml and of what there is of the files beside it, given by their names.
    An earlier version had all in params.yaml."""
    blocks = {f"{OF_METHODS}{name}": block for name, block in files.get(METHODS, {}).items()}
    return flatten({**files.get(PARAMS, {}), **blocks, **files.get(EVALUATIONS, {})})


def applied(leaves: Leaves) -> Leaves:
    """Without the blocks of methods that are not chosen: nothing reads them."""
    chosen = {leaves.get(key) for key in CHOICES}
    return {
        key: value
        for key, value in leaves.items()
        if not key.startswith(OF_METHODS) or key.split(".")[1] in chosen
    }


def settings(every: Sequence[Leaves]) -> list[list[str]]:
    """`name=value` of the leaves that differ: all of the first params, and of each other params
    those in which they differ from the first. A block of a method counts where it is chosen."""
    every = [applied(leaves) for leaves in every]
    keys = list(dict.fromkeys(key for leaves in every for key in leaves))
    texts = {key: [_text(key, leaves) for leaves in every] for key in keys}
    differing = [key for key in keys if len(set(texts[key]) - {None}) > 1]
    names = short_names(differing, keys)
    return [
        [
            f"{names[key]}={texts[key][place]}"
            for key in differing
            if texts[key][place] is not None and (not place or texts[key][place] != texts[key][0])
        ]
        for place in range(len(every))
    ]


def _text(key: str, leaves: Leaves) -> str | None:
    """None where the leaf is of a method that is not chosen."""
    if key in leaves:
        return value_text(leaves[key])
    return None if key.startswith(OF_METHODS) else ABSENT


def short_names(keys: Iterable[str], among: Collection[str]) -> dict[str, str]:
    """The shortest end of each dotted name that is the end of no other name `among` all."""
    names = {}
    for key in keys:
        parts = key.split(".")
        ends = (".".join(parts[place:]) for place in range(len(parts) - 1, -1, -1))
        others = [f".{other}" for other in among if other != key]
        names[key] = next(
            (end for end in ends if not any(o.endswith(f".{end}") for o in others)), key
        )
    return names


def value_text(value: Any) -> str:
    """A value as it would stand in params.yaml, on one line; 1 and 1.0 are two values there."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {value_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
