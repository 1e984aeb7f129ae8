"""Which images were mined as an image's partners, so that they need not be its negatives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class Partners(nn.Module):
    """Partners of every image, as the rows of a training pair them; no state to save.

    Args:
        anchor, positive: (R,) int64 ids of the rows; rows of one image with itself count for
            nothing: what a method takes other views of an image for, it still does.
    """

    def __init__(self, anchor: np.ndarray, positive: np.ndarray) -> None:
        super().__init__()
        pairs = np.stack([anchor, positive])[:, anchor != positive]
        both = np.unique(np.concatenate([pairs, pairs[::-1]], axis=1), axis=1)  # sorted
        images = int(max(anchor.max(initial=-1), positive.max(initial=-1))) + 1
        starts = np.searchsorted(both[0], np.arange(images + 1))
        self.starts: Tensor  # (images + 1,), where an image's partners begin in `others`
        self.others: Tensor
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)
        self.register_buffer("others", torch.from_numpy(both[1].copy()), persistent=False)

    def among(self, ids: Tensor, candidates: Tensor) -> Tensor:
        """Whether a candidate is a partner: (B,) and (M,) image ids to (B, M) bool.

        Memory: B * M bools, and some integers for each partner of `ids`. A candidate of -1 is
        nobody's partner.
        """
        row, place = _ranges(self.starts[ids], self.starts[ids + 1])  # one for each partner
        wanted = self.others[place]
        order = candidates.argsort()
        ranked = candidates[order]
        found, place = _ranges(
            torch.searchsorted(ranked, wanted), torch.searchsorted(ranked, wanted, right=True)
        )
        mask = torch.zeros(len(ids), len(candidates), dtype=torch.bool, device=ids.device)
        mask[row[found], order[place]] = True
        return mask


def _ranges(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """All integers of the ranges [start, stop) (R,), each after the number of its range."""
    lengths = stop - start
    number = torch.repeat_interleave(lengths)  # 0, 0, …, 1, … as often as each is long
    before = lengths.cumsum(0) - lengths
    offset = torch.arange(len(number), device=start.device) - before[number]
    return number, start[number] + offset
