"""Reading params.yaml, and the part of it that a stage reads.

The whole file is checked whenever any stage starts, so that a typing error in `linear_eval` does
not wait for a long training to end; a stage then sees only the leaves that it declares, which are
the ones its dvc.yaml entry lists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    RootModel,
)

from stages.common.all_params import AllParams, Blocks
from stages.common.errors import ParamError, SeppError
from stages.common.param_file import EVALUATIONS, METHODS, read_yaml, validate
from stages.common.plugins import choice, plugins
from stages.common.sections import (
    Arm,
    Pretrain,
    Section,
)


class StageParams(BaseModel):
    """Base of a stage's `Params`: its fields are the top-level keys that the stage reads."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @classmethod
    def load(cls, path: Path) -> Any:
        """Check the whole of `path`, then return this stage's part of it.

        Raises ParamError naming the file, the key and the remedy.
        """
        everything = load_all(path)
        return cls.model_construct(
            **{name: _narrow(getattr(everything, name), cls, name) for name in cls.model_fields}
        )


def left_by(arm: str, pretrain: Pretrain) -> list[int]:
    """Epochs after which `arm` leaves its state behind: where a round can go on from it, as from
    sepp and from a round."""
    return pretrain.handover if arm == "sepp" or arm not in get_args(Arm) else []


def check_arm(file: Path, arm: str) -> None:
    """Raises SeppError unless `arm` is one, or a round of the params in `file`."""
    known = [*get_args(Arm), *(one.name for one in load_all(file).rounds)]
    if arm not in known:
        raise SeppError(f"--arm {arm}: no such arm; there are {', '.join(known)}")


def load_all(path: Path) -> AllParams:
    """The whole of `path`, and of the files beside it, checked."""
    values = read_yaml(path)
    if isinstance(values, dict):
        moved = {"methods": METHODS, **dict.fromkeys(plugins("evaluation"), EVALUATIONS)}
        for name in values.keys() & moved:
            raise ParamError(path, name, f"belongs into {moved[name]}, beside it; remove it here")
        methods = _blocks(path.with_name(METHODS), "method", "ssl/methods")
        evaluations = _blocks(path.with_name(EVALUATIONS), "evaluation", "evaluation")
        values = {**values, "methods": methods, **evaluations}
    return validate(path, AllParams, values)


def _blocks(file: Path, kind: str, folder: str) -> Blocks:
    """The blocks of `file`, each named after one of `plugins(folder)`."""
    blocks = validate(file, RootModel[Blocks], read_yaml(file)).root
    for name in blocks:
        try:
            choice(kind, plugins(folder), name)
        except ValueError as error:
            raise ParamError(file, name, str(error)) from None
    return blocks


def evaluation_block(path: Path, name: str) -> dict[str, Any]:
    """The block of evaluation `name` as it stands beside `path`, all of which is checked."""
    return getattr(load_all(path), name) or {}


def _narrow(value: Any, stage: type[StageParams], name: str) -> Any:
    """The part of section `name` that `stage` declares, which may be a base class of the whole."""
    declared = stage.model_fields[name].annotation
    if isinstance(value, Section) and isinstance(declared, type) and type(value) is not declared:
        return declared.model_construct(
            **{leaf: getattr(value, leaf) for leaf in declared.model_fields}
        )
    return value


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Dotted names of all the parameters in a model, e.g. ``sepp.min``."""
    names: set[str] = set()
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names |= leaves(inner, f"{key}.")
        else:
            names.add(key)
    return names
