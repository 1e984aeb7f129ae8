"""Losses per row, so that a row's weight can multiply them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils._pytree import tree_leaves, tree_map_only

Result = TypeVar("Result")


def in_float32(function: Callable[..., Result]) -> Callable[..., Result]:
    """A function, or method, that autocast leaves alone, for bf16 has three digits: too few for a
    logit or a similarity. Its tensors come as float32."""

    @functools.wraps(function)
    def run(*args: object, **named: object) -> Result:
        args, named = tree_map_only(Tensor, _in_float32, (args, named))
        device = next(
            value.device for value in tree_leaves((args, named)) if isinstance(value, Tensor)
        )
        with torch.autocast(device.type, enabled=False):
            return function(*args, **named)

    return run


def _in_float32(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


@in_float32
def info_nce(
    query: Tensor,
    key: Tensor,
    negatives: Tensor,
    temperature: float,
    excluded: Tensor | None = None,
) -> Tensor:
    """InfoNCE of each query against its own key and the negatives (He et al. 2020, Eq. 1).

    Args:
        query: (B, D), unit rows.
        key: (B, D), unit rows; row i is the positive of query i, and of no other.
        negatives: (Q, D), unit rows.
        temperature: divides the cosine similarities.
        excluded: (B, Q) bool, negatives that do not count for a query; None for none.

    Returns:
        (B,) minus the log of the positive's softmax share.
    """
    positive = (query * key).sum(1, keepdim=True)  # (B, 1)
    others = query @ negatives.T  # (B, Q)
    if excluded is not None:
        others = others.masked_fill(excluded, float("-inf"))
    logits = torch.cat([positive, others], dim=1) / temperature  # (B, 1 + Q)
    target = torch.zeros(len(query), dtype=torch.int64, device=query.device)  # column 0 throughout
    return cross_entropy(logits, target, reduction="none")
