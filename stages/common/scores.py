"""Scores of pairs side by side: their names, and the table in which they are compared.

A score is what decides which pairs are the most similar: the layer that is embedded, what is done
to the embeddings, how many random views are averaged, and how two of them are compared.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from stages.common import artifacts
from stages.common.errors import SeppError

TABLE = Path("reports/scores.csv")
ABOUT = Path("reports/metrics/scores.json")
PER_IMAGE = (0.25, 0.5, 1.0, 2.0, 4.0)  # pairs per image at which scores are compared
RANKED = 1.0  # of these, that which orders them
COLUMNS = (
    *("layer", "transform", "views", "selection", "pairs_per_image"),
    *("accuracy", "images_covered", "similarity"),
    *("pairs", "similarity_mean", "accuracy_low", "accuracy_high", "class_balance", "agreement"),
)
Row = dict[str, float | None]  # the numbers of one score at one number of pairs


class Score(NamedTuple):
    layer: str  # projection | backbone
    transform: str  # none | center | whiten
    views: int  # random ones, averaged with the image itself
    selection: str  # highest: by cosine | walks: by walks over the nearest images

    def __str__(self) -> str:
        words = [self.layer, {"center": "centred", "whiten": "whitened"}.get(self.transform, "")]
        words += [f"{self.views} view{'s' * (self.views > 1)}" * (self.views > 0)]
        words += ["walks" if self.selection == "walks" else "cosine"]
        return ", ".join(filter(None, words))


PAPER = Score("projection", "none", 0, "highest")


@dataclass(frozen=True)
class Comparison:
    """What `sepp scores` found."""

    table: dict[Score, dict[float, Row]]  # by pairs per image
    about: dict  # encoder: digest; k: images; neighbours: of the walks; own_views; data; …

    @property
    def judged(self) -> bool:
        """Whether there is any accuracy; else there were no labels."""
        rows = (row for rows in self.table.values() for row in rows.values())
        return any(row["accuracy"] is not None for row in rows)

    def ranked(self) -> list[Score]:
        """Best first, at one pair an image; without accuracies in the order of the table.

        By people's answers, of which each score shares others, by what is sure: the lower end.
        """
        by = "accuracy_low" if self.about.get("answers") else "accuracy"
        return sorted(self.table, key=lambda score: -(self.table[score][RANKED][by] or 0))

    def among_best(self, current: Score | None, best: int) -> list[tuple[int, Score]]:
        """Rank (from 1) and score of the `best` first ones, the paper's, and the current."""
        ranked = enumerate(self.ranked(), 1)
        return [(n, score) for n, score in ranked if n <= best or score in (PAPER, current)]


def current(about: dict, compared: dict) -> Score | None:
    """The score that `about` (a pairs file's metadata, say) tells of; None if it does not, or if it
    walks over other numbers of neighbours than those `compared`."""
    if not {"layer", "transform", "views", "neighbours"} <= about.keys():
        return None
    if about["neighbours"] not in (0, compared.get("neighbours")):
        return None
    selection = "walks" if about["neighbours"] else "highest"
    return Score(about["layer"], about["transform"], about["views"], selection)


def write_scores(comparison: Comparison, table: Path = TABLE, about: Path = ABOUT) -> None:
    """Write the table, and what it is about; that is empty as long as the two may not match."""
    rows = (
        {**score._asdict(), "pairs_per_image": per_image, **row}
        for score, found in comparison.table.items()
        for per_image, row in found.items()
    )
    artifacts.write_json(about, {})
    artifacts.write_csv(table, list(rows), COLUMNS)
    artifacts.write_json(about, comparison.about)


def read_scores(table: Path = TABLE, about: Path = ABOUT) -> Comparison | None:
    """What `write_scores` wrote; None where the table has no rows: nobody compared any.

    Raises SeppError for a table of another shape, or of which is not known what it is about.
    """
    if not table.exists():
        return None
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return None
    facts = artifacts.read_json(about, "report") if about.exists() else {}
    try:
        if not facts:
            raise ValueError(f"{about} does not say what it is about: a run was interrupted")
        return Comparison(_by_score(rows), facts)
    except (KeyError, ValueError, TypeError) as error:
        problem = f"is not the table that `sepp scores` writes ({error})"
        remedy = f"run it again, or `git checkout {table} {about}`"
        raise SeppError(f"{table}: {problem}; {remedy}") from None


def _by_score(rows: Iterable[dict[str, str]]) -> dict[Score, dict[float, Row]]:
    found: dict[Score, dict[float, Row]] = {}
    for row in rows:
        score = Score(row["layer"], row["transform"], int(row["views"]), row["selection"])
        numbers = {name: float(row[name]) if row[name] else None for name in COLUMNS[5:]}
        found.setdefault(score, {})[float(row["pairs_per_image"])] = numbers
    for score, numbers in found.items():
        if RANKED not in numbers:
            raise ValueError(f"{score}: no row of {RANKED:g} pairs per image")
    return found
