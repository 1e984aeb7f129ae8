"""Work in threads, for what does not hold the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S, T = TypeVar("S"), TypeVar("T")


def in_order(work: Callable[[S], T], items: Iterable[S], threads: int, ahead: int) -> Iterator[T]:
    """work(item) of each item, in their order, at most `ahead` of them begun before their turn."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # where nobody asks for more
                future.cancel()
