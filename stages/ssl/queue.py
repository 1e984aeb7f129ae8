"""A first-in, first-out memory of embeddings that knows which image each came from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from stages.ssl import distributed


class Queue(nn.Module):
    """The last `size` embeddings pushed, the same on every process; saved with a checkpoint.

    Attributes:
        rows: (size, dim) unit vectors; random ones where nothing has been pushed yet.
        ids: (size,) int64, the image of each row, -1 where there is none yet.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.rows: Tensor
        self.ids: Tensor
        self.next: Tensor
        self.register_buffer("rows", normalize(torch.randn(size, dim)))
        self.register_buffer("ids", torch.full((size,), -1))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))  # row to write next

    @torch.no_grad()
    def push(self, rows: Tensor, ids: Tensor) -> Tensor:
        """Write all processes' rows (M, dim) of images `ids` (M,) over the oldest.

        Returns (world * M,) the places they went to. What a loss reads from the queue must be read
        as a clone: the backward pass comes after this.

        Raises:
            ValueError: more rows than the queue has.
        """
        rows, ids = distributed.gather(rows), distributed.gather(ids)
        size = len(self.rows)
        if len(rows) > size:
            raise ValueError(f"{len(rows)} keys in one step, but the queue has {size} rows")
        places = (self.next + torch.arange(len(rows), device=rows.device)) % size
        self.rows[places] = rows
        self.ids[places] = ids
        self.next.copy_((self.next + len(rows)) % size)
        return places
