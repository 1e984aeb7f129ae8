"""Random pairs of images, drawn without repeating one before all have been drawn."""

from __future__ import annotations

import numpy as np


def draw(total: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) int64 of range(total), all distinct if count <= total, else as even as can be."""
    times, rest = divmod(count, total)
    some = rng.choice(total, rest, replace=False)
    return np.concatenate([np.tile(np.arange(total), times), some]).astype(np.int64)


def draw_pairs(
    groups: list[np.ndarray], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(count,) i < j: uniform among all pairs of different members of a same group.

    Each group is an ascending array. Raises ValueError if no group has two members.
    """
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    ends = np.cumsum(sizes * (sizes - 1) // 2)  # (G,) pairs up to and with each group
    if len(ends) == 0 or ends[-1] == 0:
        raise ValueError("no group has two members")
    numbers = draw(int(ends[-1]), count, rng)
    which = np.searchsorted(ends, numbers, side="right")  # (count,) group
    low, high = _unrank(numbers - np.concatenate([[0], ends])[which])
    members = np.concatenate(groups)
    first = np.concatenate([[0], np.cumsum(sizes)])[which]
    i, j = members[first + low], members[first + high]
    order = np.lexsort((j, i))
    return i[order], j[order]


def _unrank(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pair (low, high) that has a number in the list (0, 1), (0, 2), (1, 2), (0, 3), …"""
    high = ((1 + np.sqrt(1 + 8.0 * number)) / 2).astype(np.int64)
    high -= high * (high - 1) // 2 > number  # the root may be off by one unit of rounding
    high += high * (high + 1) // 2 <= number
    return number - high * (high - 1) // 2, high
