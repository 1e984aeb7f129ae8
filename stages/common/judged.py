"""Pairs that people have judged, and what these tell of the accuracy of all pairs.

`data/pair_labels.csv` is committed. An image in it is named by its content, so that answers never
pass to other images when a data set changes; its number in the manifest only says where to look.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common import artifacts
from stages.common.errors import SeppError
from stages.common.images import ImageStore
from stages.common.intervals import wilson

LABELS = Path("data/pair_labels.csv")
SAME = {"yes": True, "no": False, "unsure": None}  # what an answer says
LEAST = 5  # answers of a stratum
CELL = 0.001  # of similarity: answers are weighed by the pairs of their cells


class Answer(NamedTuple):
    """One person's answer on one pair: do both images show the same thing?"""

    anchor_id: int  # in the manifest when it was given
    positive_id: int
    anchor: str  # key of the image's content, see `ImageStore.key`
    positive: str
    similarity: float  # when it was given
    answer: str  # yes | no | unsure
    judge: str  # who gave it
    explored: str  # fingerprint of the pairs among which it was put


def read_answers(path: Path = LABELS) -> list[Answer]:
    """All rows of the file, none if there is no file; raises SeppError naming a line that is
    wrong."""
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SeppError(f"{path}: is not UTF-8 text ({error.reason}); save it as CSV") from None
    rows = csv.DictReader(io.StringIO(text), strict=True)
    missing = [name for name in Answer._fields if name not in (rows.fieldnames or ())]
    if missing:
        raise SeppError(
            f"{path}: has no column {', '.join(missing)}; save answers from the report's page"
            + (f", or take back an edit with `git checkout {path}`" if path == LABELS else "")
        )
    try:
        return [_answer(row, f"{path}, line {rows.line_num}") for row in rows]
    except csv.Error as error:
        raise SeppError(f"{path}, line {rows.line_num}: {error}; correct the line") from None


def _answer(row: dict[str, str], where: str) -> Answer:
    try:
        answer = Answer(
            int(row["anchor_id"]),
            int(row["positive_id"]),
            row["anchor"],
            row["positive"],
            float(row["similarity"]),
            row["answer"],
            row["judge"],
            row["explored"],
        )
    except (TypeError, ValueError) as error:
        raise SeppError(f"{where}: {error}; correct the line, or remove it") from None
    if None in row or None in row.values():
        raise SeppError(f"{where}: has another number of columns; correct the line, or remove it")
    if not math.isfinite(answer.similarity):
        raise SeppError(f"{where}: similarity {answer.similarity}: needs to be a number")
    if answer.answer not in SAME:
        known = ", ".join(SAME)
        raise SeppError(f"{where}: answer {answer.answer!r}: needs to be one of {known}")
    return answer


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")  # which quotes names with commas in them
    writer.writerows([Answer._fields, *answers])
    with artifacts.atomic(path) as partial:
        partial.write_text(stream.getvalue(), encoding="utf-8")


class Verdicts(NamedTuple):
    """Pairs of a data set that were judged with yes or no, each once."""

    anchor: np.ndarray  # (M,) int64 ids, anchor < positive
    positive: np.ndarray
    same: np.ndarray  # (M,) share of yes among those who said yes or no
    similarity: np.ndarray  # (M,) when the last of them was asked
    lost: int  # answers on images that the data set no longer has


def resolve(answers: Sequence[Answer], store: ImageStore) -> Verdicts:
    """The judged pairs of the images in `store`; several people's answers on one are averaged."""
    named = [((a.anchor_id, a.anchor), (a.positive_id, a.positive)) for a in answers]
    places = store.find({name for pair in named for name in pair})
    votes: dict[tuple[int, int], list[bool]] = {}
    similarity: dict[tuple[int, int], float] = {}
    lost = 0
    for answer, pair in zip(answers, named, strict=True):
        ends = tuple(sorted(places.get(name, -1) for name in pair))
        if ends[0] < 0 or ends[0] == ends[1]:
            lost += 1
        elif SAME[answer.answer] is not None:
            votes.setdefault(ends, []).append(SAME[answer.answer])
            similarity[ends] = answer.similarity
    pairs = np.array(sorted(votes), np.int64).reshape(-1, 2)
    same = np.array([np.mean(votes[tuple(pair)]) for pair in pairs.tolist()])
    asked_at = np.array([similarity[tuple(pair)] for pair in pairs.tolist()])
    return Verdicts(pairs[:, 0], pairs[:, 1], same, asked_at, lost)


def estimate(
    pairs: np.ndarray, yes: np.ndarray, asked: np.ndarray
) -> tuple[float, float, float] | None:
    """Accuracy of all pairs and its 95 % interval, from those judged; None if none was.

    All are (C,) counts by cells of similarity, in rising order: of the pairs, of the judged ones,
    and of those of them that are right. Pairs are put to people by strata, so the answers of a
    stratum stand for its pairs: share = sum of W_h p_h, with W_h its part of all pairs. The
    interval is Wilson's of as many answers as have this variance, the sum of
    W_h^2 p_h (1 - p_h) / (n_h - 1), where p_h is taken as (yes + 1) / (n + 2), so that five equal
    answers do not pass for certainty.
    """
    strata = merge(asked)
    total = float(pairs.sum())
    if not strata or not total:
        return None
    share = middle = variance = 0.0
    for first, stop in strata:
        weight = float(pairs[first:stop].sum()) / total
        n, right = float(asked[first:stop].sum()), float(yes[first:stop].sum())
        smooth = (right + 1) / (n + 2)
        share += weight * right / n
        middle += weight * smooth
        variance += weight**2 * smooth * (1 - smooth) / max(1, n - 1)
    trials = middle * (1 - middle) / variance
    return share, *wilson(share * trials, trials)


def merge(asked: np.ndarray) -> list[tuple[int, int]]:
    """Cells [first, stop) of each stratum, the most similar pairs first, with at least 5 answers
    each, or all of them if they are fewer; where they are cut does not depend on the answers."""
    strata, stop, held = [], len(asked), 0.0
    for cell in reversed(range(len(asked))):
        held += asked[cell]
        if held >= LEAST:
            strata.append((cell, stop))
            stop, held = cell, 0.0
    if strata:
        strata[-1] = (0, strata[-1][1])  # what is left over
    elif held:
        strata = [(0, len(asked))]
    return strata
