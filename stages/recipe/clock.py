"""How long the timing itself may take: a share of the budget, whatever the machine does."""

from __future__ import annotations

import time

SHARE = 0.05  # of the budget
LEAST, MOST = 30.0, 120.0  # seconds, whatever the budget: a few steps, and enough of them
PATIENCE = 4.0  # seconds after which one thing has been timed for long enough
FEWEST = 3  # times of it, if there is time


def allowed(budget: float) -> float:
    """Seconds that timing takes at most, of a budget (seconds)."""
    return min(max(SHARE * budget, LEAST), MOST)


class Clock:
    """Wall-clock seconds that are left."""

    def __init__(self, seconds: float) -> None:
        self.end = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self.end - time.perf_counter())

    def until(self, share: float) -> float:
        """The time (of `perf_counter`) at which so much of what is left is over."""
        return time.perf_counter() + share * self.left


class Stopwatch:
    """The times at which something that is done again and again ends.

    Args:
        until: the time (of `perf_counter`) after which it is not to end once more. It is done once
            in any case.
    """

    def __init__(self, until: float) -> None:
        self.until, self.began = until, time.perf_counter()
        self.ends: list[float] = []

    def lap(self) -> bool:
        """Note that it ended; whether that was for the last time."""
        self.ends.append(time.perf_counter())
        # The first time says nothing of how long the second takes: much is loaded and set up.
        last = self.ends[-1] - self.ends[-2] if len(self.ends) > 1 else 0.0
        if self.ends[-1] + last >= self.until:
            return True
        return len(self.ends) >= FEWEST and self.ends[-1] - self.ends[0] > PATIENCE

    @property
    def seconds(self) -> float:
        """Each takes, without the first ones; if there was but one, that."""
        if len(self.ends) == 1:
            return self.ends[0] - self.began
        first = len(self.ends) // 4
        return (self.ends[-1] - self.ends[first]) / (len(self.ends) - 1 - first)

    def __str__(self) -> str:
        if len(self.ends) == 1:
            return f"{self.seconds:.3g} s (the first, for lack of time; others may be faster)"
        return f"{self.seconds:.3g} s ({len(self.ends)} timed)"
