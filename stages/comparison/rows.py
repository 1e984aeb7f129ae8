"""Experiments as rows that the table, the charts and the page show alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stages.comparison.differences import settings
from stages.comparison.experiments import Experiment
from stages.comparison.revisions import LeftOut
from stages.reporting import words

# Where a name may be broken, if it must be: after a sign between words, not within a number.
BREAK = re.compile(r"(?<=\w[-_/=])(?<!\de-)(?=\S)|(?<=\w\.)(?=[A-Za-z])")
SEVERAL = 3  # gains, the highest of which may be so by chance


@dataclass(frozen=True)
class Row:
    number: int  # from 1
    name: str
    origin: str | None  # of an experiment that did not start from HEAD: the commit, abbreviated
    settings: list[str]  # name=value, of all params that differ, or where they do from the first
    changed: str | None  # since the results were made
    pairs: dict  # count, accuracy, accuracy_low, accuracy_high
    arm: str  # that the gain is of
    gain: dict | None  # linear, knn, and steps: how many times vanilla's
    steps: int | None  # of the arm

    @property
    def right(self) -> tuple[str, tuple[str, str] | None]:
        """The accuracy of the pairs in percent, and its 95 % interval; a dash where not known."""
        share, *bounds = (self.pairs[f"accuracy{end}"] for end in ("", "_low", "_high"))
        if share is None:
            return "–", None
        low, high = (None if bound is None else f"{100 * bound:.1f}" for bound in bounds)
        return f"{100 * share:.1f}", (low, high) if low and high else None

    @property
    def ratio(self) -> str | None:
        """How many times vanilla's the steps are; None if not known."""
        known = self.gain and self.gain["steps"]
        return f"x {self.gain['steps']:.3g}" if known else None


@dataclass(frozen=True)
class Comparison:
    rows: list[Row]
    left_out: list[LeftOut]

    @property
    def arms(self) -> list[str]:
        """Whose gains these are."""
        return list(dict.fromkeys(row.arm for row in self.rows if row.gain))

    @property
    def reading(self) -> list[str]:
        """How the rows are to be read, in sentences."""
        told = []
        if any(row.settings for row in self.rows[1:]):
            told.append(
                "The first row has all params that differ, any other those in which it differs "
                "from the first."
            )
        elif len(self.rows) > 1:
            told.append("No param differs.")
        elif not self.left_out:
            told.append("An experiment to set beside it: `dvc exp run -S sepp.min=0.96`.")
        arms = self.arms[0] if len(self.arms) == 1 else "the arm that a row names"
        answers = any(words.by_answers(row.pairs) for row in self.rows)
        judged = ", or that people judge right" if answers else ""
        told.append(
            f"Right: pairs whose labels agree{judged}, with the 95 % interval. Gain: of {arms} "
            "over vanilla in top-1, in points, the mean of the paired differences, with its 95 % "
            "interval; * significant at 5 %. Steps: of the optimiser, and how many times vanilla's."
        )
        if sum(row.gain is not None for row in self.rows) >= SEVERAL:
            told.append(
                "The best of several owes something to chance: confirm it with other seeds."
            )
        return told

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """Names, and what must be said of their rows."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if row.changed:
                told = (
                    "these results are of other params, code or data than it has (changed since: "
                    f"{row.changed}); run it anew"
                )
                found.setdefault(told, []).append(row.name)
            if row.pairs.get("note"):
                found.setdefault(row.pairs["note"], []).append(row.name)
        return [(", ".join(names), told) for told, names in found.items()]


def compare(
    experiments: Sequence[Experiment], left_out: Sequence[LeftOut], head: str | None
) -> Comparison:
    """`head` is the commit that experiments of today start from."""
    every = settings([one.params for one in experiments])
    rows = []
    for number, (one, own) in enumerate(zip(experiments, every, strict=True), 1):
        arm = words.featured(one.summary)
        rows.append(
            Row(
                number=number,
                name=one.name,
                origin=one.baseline[:7] if one.baseline and one.baseline != head else None,
                settings=own,
                changed=one.changed,
                pairs=one.summary["pairs"],
                arm=arm,
                gain=one.summary["gain"].get(arm),
                steps=one.summary["arms"][arm]["steps"],
            )
        )
    return Comparison(rows, list(left_out))
