"""The little that methods need of torch.distributed. On one process each is the identity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if world_size() > 1 else 0


@torch.no_grad()
def gather(rows: Tensor) -> Tensor:
    """(B, …) of each process to (world * B, …), in order of rank, without gradients."""
    if world_size() == 1:
        return rows
    parts = [
        torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())
    ]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def share(rows: Tensor) -> Tensor:
    """This process's slice of (world * B, …): the inverse of `gather`."""
    return rows.chunk(world_size())[rank()]
