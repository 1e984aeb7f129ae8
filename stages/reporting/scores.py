"""The section of the page that sets scores beside each other, if `sepp scores` has run."""

from __future__ import annotations

from typing import NamedTuple

from stages.common.scores import PAPER, RANKED, Comparison, Row, Score, current
from stages.reporting.charts import ScoreLine

SAME = ("encoder", "k", "seed", "shrinkage")  # of a comparison and of pairs that it is about
BEST = 3  # scores that are shown, beside the paper's and that of the pairs
COLOURS = ("oracle", "random", "duplicate", "sampler")  # of the best; the paper's: vanilla's


class ScoreRow(NamedTuple):
    rank: int  # from 1, at one pair an image; without accuracies the place in the table
    name: str
    mark: str  # "the paper's", "these pairs'", or ""
    numbers: Row  # at one pair an image


class ScoreSection(NamedTuple):
    rows: list[ScoreRow]  # of the best, the paper's, and that of the pairs
    every: list[ScoreRow]
    lines: list[ScoreLine]  # none without accuracies
    about: dict  # of the comparison
    judged: bool
    of_others: bool  # than the pairs: another sampler, other images, or otherwise whitened


def compare_scores(found: Comparison | None, pairs: dict) -> ScoreSection | None:
    """What the page shows of a comparison; `pairs` says how those of the page were mined."""
    if found is None:
        return None
    own = current(pairs, found.about)
    known = [key for key in SAME if key in found.about and key in pairs]
    shown = found.among_best(own, BEST if found.judged else 0)
    every = found.among_best(own, len(found.table))
    shown = shown or every  # neither the paper's is there, nor these pairs'
    return ScoreSection(
        rows=[_row(rank, score, own, found) for rank, score in shown],
        every=[_row(rank, score, own, found) for rank, score in every],
        lines=_lines([score for _, score in shown], own, found) if found.judged else [],
        about=found.about,
        judged=found.judged,
        of_others=any(found.about[key] != pairs[key] for key in known),
    )


def _row(rank: int, score: Score, own: Score | None, found: Comparison) -> ScoreRow:
    marks = {"the paper’s": PAPER, "these pairs’": own}
    mark = " and ".join(name for name, other in marks.items() if score == other)
    return ScoreRow(rank, str(score), mark, found.table[score][RANKED])


def _lines(shown: list[Score], own: Score | None, found: Comparison) -> list[ScoreLine]:
    lines, free = [], iter(COLOURS)
    for score in shown:
        colour = "vanilla" if score == PAPER else "sepp" if score == own else next(free)
        name = f"{score}{' (the paper’s)' * (score == PAPER)}"
        points = {
            per_image: row["accuracy"]
            for per_image, row in found.table[score].items()
            if row["accuracy"] is not None
        }
        lines.append(ScoreLine(name, colour, points))
    return lines
