"""Reading params.yaml, and the files beside it: what is wrong with one in one line that names the
key and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML, YAMLError

from stages.common.errors import ParamError, SeppError

# Beside params.yaml: a block for each method, and for each evaluation, of which params.yaml names
# those in use. DVC stops where a block that it tracks is missing, so all of them are there.
PARAMS, METHODS, EVALUATIONS = "params.yaml", "methods.yaml", "evaluations.yaml"


def read_yaml(path: Path) -> Any:
    """What `path` holds, unchecked; raises ParamError."""
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamError(path, "file", "is missing; `sepp preset characters` writes one") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamError(path, "file", " ".join(f"is not YAML: {error}".split())) from None


def yaml_value(text: str) -> Any:
    """A value as it would stand in params.yaml; what DVC writes for null is None, too."""
    try:
        return None if text == "None" else YAML(typ="safe").load(text)
    except YAMLError:
        raise SeppError(f"{text!r} on the command line is not YAML") from None


def validate(file: Path, model: type[BaseModel], values: Any, prefix: str = "") -> Any:
    """`values` of section `prefix` as a `model`.

    Raises:
        ParamError: the first thing that is wrong, by its key; a key that there is not comes before
            one that is missing, which may be the same one misspelt.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first, *others = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        path = [str(part) for part in first["loc"] if not _is_union_tag(part)]
        key = ".".join(([prefix] if prefix else []) + path) or "file"
        more = f" (and {len(others)} more)" if others and not _alternatives(error) else ""
        raise ParamError(file, key, _problem(first) + more) from None


def _is_union_tag(part: object) -> bool:
    return isinstance(part, str) and (part in ("int", "float", "str") or "[" in part)


def _alternatives(error: ValidationError) -> bool:
    """Whether all the errors are one value failing each type it might have had."""
    places = {tuple(p for p in e["loc"] if not _is_union_tag(p)) for e in error.errors()}
    return len(places) == 1


def _problem(error: Any) -> str:
    if error["type"] == "missing":
        return "is missing; `sepp preset NAME` writes a whole file"
    if error["type"] == "extra_forbidden":
        return "is not a parameter; check its spelling"
    value, message = error["input"], error["msg"]
    if error["type"] == "value_error":  # one of ours, which names the value
        return message.removeprefix("Value error, ")
    if error["type"] in ("model_type", "dict_type"):
        return f"{value!r}: should be a block of parameters; `sepp preset NAME` writes a whole file"
    return f"{value!r}: {message[0].lower()}{message[1:]}"
