"""Backbones of timm, any of its models: ``timm/resnet10t``, ``timm/vit_tiny_patch16_224-p4``.

Apart from `backbones`, so that only those who name one wait for the import.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

import timm
from timm.models.resnet import ResNet
from torch import nn

from stages.common.errors import SeppError
from stages.ssl.backbones import TIMM

__all__ = ["ResNet", "arguments", "build"]


def arguments(name: str, image_size: int | None) -> tuple[str, dict[str, Any]]:
    """With what `timm.create_model` makes the backbone `name`: the model, and its keywords.

    Args:
        name: ``timm/<model>``; a transformer also with its patch size, for small images: ``-p4``.
        image_size: pixels, edge. Transformers are made for one; None: timm's own.

    Raises:
        SeppError: timm has no such model.
    """
    model, patch = re.fullmatch(r"(.*?)(?:-p(\d+))?", name.removeprefix(TIMM)).groups()
    known = timm.list_models()
    if model not in known:
        plain = model.partition(".")[0]  # what follows names weights
        near = difflib.get_close_matches(plain, known, 8, 0.0)
        raise SeppError(
            f"unknown backbone {name!r}; near it are {', '.join(TIMM + n for n in near)}"
        )
    keywords: dict[str, Any] = {"num_classes": 0}
    if image_size and timm.get_pretrained_cfg(model).fixed_input_size:
        keywords["img_size"] = image_size
    if patch:
        keywords["patch_size"] = int(patch)
    return model, keywords


def build(name: str, image_size: int | None) -> tuple[nn.Module, int]:
    """A randomly initialised model without its classifier, and its feature dimension.

    Plain transformers interpolate their position embeddings for images of another size than
    `image_size`, such as small crops, and refuse those that their patches do not fill. Residual
    blocks start with a last batch norm of 1, as torchvision's, where timm's start with 0.

    Raises:
        SeppError: timm has no such model, or not for that size.
    """
    model, keywords = arguments(name, image_size)
    try:
        made = _create(model, keywords)
    except (RuntimeError, ValueError, AssertionError, TypeError, ZeroDivisionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        told = ", ".join(f"{key} {value}" for key, value in keywords.items() if value)
        raise SeppError(f"backbone {name!r} cannot be made with {told} ({reason})") from None
    for block in made.modules():
        if hasattr(block, "zero_init_last"):
            for norm in block.modules():
                if isinstance(norm, nn.BatchNorm2d) and not norm.weight.any():
                    nn.init.ones_(norm.weight)
    return made, made.head_hidden_size


def _create(model: str, keywords: dict[str, Any]) -> nn.Module:
    """For images of any size, where a model has that choice."""
    try:
        return timm.create_model(model, **keywords, dynamic_img_size=True)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        return timm.create_model(model, **keywords)
