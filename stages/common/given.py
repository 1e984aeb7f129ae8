"""What params.yaml says of weights that are given: which leaf names them, and how."""

from __future__ import annotations

import re
from typing import NamedTuple


class Given(NamedTuple):
    """Weights that somebody else trained."""

    leaf: str  # of params.yaml that names them, with its section
    name: str  # of a file or folder, or a library's

    @property
    def is_named(self) -> bool:
        """Whether torchvision or timm fetches them by that name; ``./`` before makes it a file."""
        return self.is_torchvision or self.is_timm

    @property
    def is_torchvision(self) -> bool:
        return re.fullmatch(r"\w+_Weights\.[A-Z][A-Z0-9_]*", self.name) is not None

    @property
    def is_timm(self) -> bool:
        return re.fullmatch(r"timm/\w+(\.\w+)?", self.name) is not None
