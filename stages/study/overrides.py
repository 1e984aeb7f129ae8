"""Params as a study changes them: a preset's, with other values by dotted name, on other data."""

from __future__ import annotations

import copy
import difflib
import functools
from collections.abc import Mapping
from typing import Any

from stages.common.errors import SeppError
from stages.common.sections import BUNDLED
from stages.comparison.differences import flatten
from stages.recipe.text import PRESETS, preset, values_of


def start_from(name: str, where: str) -> tuple[str, dict[str, Any]]:
    """A preset's text, and its params, as a copy; raises SeppError if there is none."""
    known = sorted(file.stem for file in PRESETS.glob("*.yaml"))
    if name not in known:
        raise SeppError(f"{where}: {name!r} is no preset; there are {', '.join(known)}")
    return preset(name), copy.deepcopy(_values(name))


@functools.cache
def _values(name: str) -> dict[str, Any]:
    return values_of(preset(name))


def move(params: dict[str, Any], data: str) -> None:
    """Take the recipe to another data set: mean and std are those of its own preset, if it has one,
    so that a plan needs no look at the images; else they stay (those of photographs are alike)."""
    params["data"] |= {"name": data, "watch": [] if data in BUNDLED else [data]}
    if (PRESETS / f"{data}.yaml").is_file():
        params["views"] |= {key: _values(data)["views"][key] for key in ("mean", "std")}


def replace(params: dict[str, Any], parameter: str, value: Any, where: str) -> None:
    """Set what a dotted name means in `params`; raises SeppError if there is no such parameter."""
    *sections, leaf = parameter.split(".")
    inner: Any = params
    for section in sections:
        inner = inner.get(section) if isinstance(inner, Mapping) else None
    if not isinstance(inner, dict) or leaf not in inner:
        near = difflib.get_close_matches(parameter, flatten(params), n=1)
        meant = f"; did you mean {near[0]}?" if near else "; check its spelling"
        raise SeppError(f"{where}: {parameter} is no parameter of the preset{meant}")
    inner[leaf] = copy.deepcopy(value)


def update(inner: dict, values: Mapping[str, Any]) -> None:
    """Make `inner` what `values` are, and leave alone what is already so: it has comments."""
    for name in [name for name in inner if name not in values]:
        del inner[name]
    for name, value in values.items():
        old = inner.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            update(old, value)
        elif name not in inner or not isinstance(old, type(value)) or old != value:
            inner[name] = value
