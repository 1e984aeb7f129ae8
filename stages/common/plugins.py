"""What is found by its name: a file of a folder of `stages`, with nothing to register."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

STAGES = Path(__file__).resolve().parent.parent


def plugins(folder: str) -> list[str]:
    """Names of what can be chosen in `stages/<folder>`: one file each, nothing to register."""
    return sorted(f.stem for f in (STAGES / folder).glob("*.py") if not f.stem.startswith("_"))


def plugin(folder: str, name: str) -> ModuleType:
    """The module `name`, one of `plugins(folder)`."""
    return importlib.import_module(f"stages.{folder.replace('/', '.')}.{name}")


def choice(kind: str, names: list[str], name: str) -> str:
    """`name`, which is to be one of `names`; raises ValueError, which has them."""
    if name not in names:
        raise ValueError(f"unknown {kind} {name!r}; there are {', '.join(names)}")
    return name
