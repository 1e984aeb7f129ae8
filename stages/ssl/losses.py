"""Losses per row, so that a row's weight can multiply them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def info_nce(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """InfoNCE of each query against its own key and the negatives (He et al. 2020, Eq. 1).

    Args:
        query: (B, D), unit rows.
        key: (B, D), unit rows; row i is the positive of query i, and of no other.
        negatives: (Q, D), unit rows.
        temperature: divides the cosine similarities.

    Returns:
        (B,) minus the log of the positive's softmax share.
    """
    with torch.autocast(query.device.type, enabled=False):  # bf16 has three digits of a logit
        positive = (query * key).sum(1, keepdim=True)  # (B, 1)
        logits = torch.cat([positive, query @ negatives.T], dim=1) / temperature  # (B, 1 + Q)
    target = torch.zeros(len(query), dtype=torch.int64, device=query.device)  # column 0 throughout
    return cross_entropy(logits, target, reduction="none")
