"""When no pair is found: which other threshold would give a useful number of them."""

from __future__ import annotations

from typing import Protocol


class Score(Protocol):
    """What is asked of `Cosine` and `Walk`."""

    lowest: float

    def expected(self, lo: float, hi: float) -> float: ...

    def threshold(self, count: float, hi: float) -> float: ...


def advise(score: Score, rows: int, lo: float, hi: float) -> str:
    """One line on why no two of so many images have a similarity in [lo, hi].

    It proposes the `sepp.min` that gives about one pair an image, or as many as there are, and a
    higher `sepp.max` where pairs lie above it. Counts of more than 512 images are estimates.
    """
    if rows < 2:
        return f"{rows} embedded image{'s' * (rows != 1)}, and a pair needs two: raise embed.k"
    options = []
    if above := score.expected(hi, 1.0) if hi < 1 else 0:
        options.append(f"sepp.max=1.0 would give {_about(above)}")
    useful = _useful(score, rows, hi)
    if useful is not None:
        options.append(f"sepp.min={useful:g} would give {_about(score.expected(useful, hi))}")
    if not options:
        return f"no two of {rows:,} images are alike at all: raise embed.k, or sepp.max"
    text = f"no pair of {rows:,} images has a similarity in [{lo}, {hi}]"
    best = score.threshold(1, hi)
    nearest = f"; the highest below have about {best:.3f}" if best > score.lowest else ""
    return f"{text}{nearest}: {', '.join(options)}"


def _useful(score: Score, rows: int, hi: float) -> float | None:
    """A threshold that about one pair an image reaches; fewer where there are no more."""
    for count in (rows, rows / 4, 1):
        low = score.threshold(count, hi)
        if low > score.lowest:
            return low
    return None


def _about(count: float) -> str:
    return f"about {count:,.0f} pairs" if count >= 1.5 else "about one pair"
