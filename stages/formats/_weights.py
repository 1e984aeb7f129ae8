"""A safetensors file, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from stages.common.artifacts import atomic


def write_weights(path: Path, weights: dict[str, Tensor], key: str, about: str) -> None:
    """The header has one entry of text, as safetensors writes several in no fixed order."""
    plain = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    with atomic(path) as partial:
        # Not save_file, whose error on a full disk is none of the operating system's.
        partial.write_bytes(save(plain, {key: about}))
