"""The little that methods need of torch.distributed. On one process each is the identity."""

from __future__ import annotations

import torch
from lightly.utils.dist import GatherLayer
from torch import Tensor
from torch import distributed as dist


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if world_size() > 1 else 0


@torch.no_grad()
def gather(rows: Tensor) -> Tensor:
    """(B, …) of each process to (world * B, …), in order of rank, without gradients."""
    return gather_with_gradient(rows)


def gather_with_gradient(rows: Tensor) -> Tensor:
    """`gather` whose backward pass sums the gradients that all processes have for these rows.

    A loss of which each process computes its rows' share, or all of it, thus has, once DDP has
    averaged over processes, the gradient that one process with the whole batch would have.
    """
    return rows if world_size() == 1 else torch.cat(GatherLayer.apply(rows.contiguous()))


def mean(values: Tensor) -> Tensor:
    """Mean over the processes of a tensor of any shape, with gradients."""
    return gather_with_gradient(values[None]).mean(0)


def share(rows: Tensor) -> Tensor:
    """This process's slice of (world * B, …): the inverse of `gather`."""
    return rows.chunk(world_size())[rank()]
