"""Judge pairs on the report's page, and put the answers of several people together."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import click

from stages.common.command import command
from stages.common.errors import SeppError
from stages.common.images import ImageStore
from stages.common.judged import LABELS, SAME, Answer, read_answers, resolve, write_answers

PAGE = Path("reports/index.html")
MANIFEST, IMAGES = Path("data/manifest.parquet"), Path("data/images.npy")
Pair = tuple[str, str]  # keys of two images, in order


@command
@click.argument("files", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--open/--no-open", "open_page", default=True, help="Open the page in a browser.")
def main(files: tuple[Path, ...], open_page: bool) -> None:
    """Judge whether pairs show the same thing, and put several people's answers together.

    Without FILES it opens reports/index.html, whose section "Judge pairs" puts pairs to you and
    saves a file pair_labels.csv. With FILES, such files, it adds their answers to
    data/pair_labels.csv (a later answer of one person on one pair replaces an earlier one), and
    says how far people agree. Commit that file: where images have no labels, `dvc repro` takes
    the accuracy of pairs from it.
    """
    if files:
        missing = next((file for file in files if not file.exists()), None)
        if missing:
            raise SeppError(f"{missing}: is missing; save it from {PAGE}")
        names = [name_of(file) for file in files]
        twice = {name for name in names if name and names.count(name) > 1}
        if twice:
            raise SeppError(
                f"{twice.pop()}: two of the files would be this person's; rename one, or fill in "
                "the names on the page"
            )
        parts = [named(read_answers(file), name) for file, name in zip(files, names, strict=True)]
        write_answers(LABELS, merge([read_answers(), *parts]))
    answers = read_answers()
    click.echo(told(answers))
    if lost := gone(answers):
        click.echo(
            f"{lost:,} of these are on images that this data set does not have: they do not count"
        )
    for line in agreement(answers):
        click.echo(line)
    if files:
        click.echo("`dvc repro` uses them where images have no labels. Commit the file.")
    elif not PAGE.exists():
        raise SeppError(f"{PAGE}: is missing; run `dvc repro report`")
    else:
        click.echo(f"Judge pairs: {PAGE.resolve().as_uri()}#judge")
        if open_page and click.get_text_stream("stdout").isatty():
            click.launch(f"{PAGE.resolve().as_uri()}#judge")


def gone(answers: list[Answer]) -> int:
    """Answers on images that are not in the data set, where it is here."""
    if not (answers and MANIFEST.exists() and IMAGES.exists()):
        return 0
    return resolve(answers, ImageStore(MANIFEST, IMAGES)).lost


def name_of(file: Path) -> str:
    """Who judged, where a file does not say: its name, if that is not the page's own."""
    return "" if file.stem.startswith(LABELS.stem) else file.stem


def named(answers: Iterable[Answer], name: str) -> list[Answer]:
    """Answers of nobody are those of `name`."""
    return [answer._replace(judge=answer.judge or name) for answer in answers]


def merge(parts: Iterable[Iterable[Answer]]) -> list[Answer]:
    """Each person's last answer on each pair, in the order in which pairs first came."""
    last: dict[tuple[Pair, str], Answer] = {}
    for answer in (answer for part in parts for answer in part):
        last[pair_of(answer), answer.judge] = answer
    return list(last.values())


def pair_of(answer: Answer) -> Pair:
    return min(answer.anchor, answer.positive), max(answer.anchor, answer.positive)


def told(answers: list[Answer]) -> str:
    """How many answers there are, in a line."""
    people = {answer.judge for answer in answers}
    pairs = {pair_of(answer) for answer in answers}
    one = len(people) == 1
    return (
        f"{LABELS}: {len(answers):,} answer{'s' * (len(answers) != 1)} of {len(people)} "
        f"{'person' if one else 'people'} on {len(pairs):,} pair{'s' * (len(pairs) != 1)}"
    )


def agreement(answers: list[Answer]) -> list[str]:
    """For each two people a line: how many pairs both said yes or no to, and how often alike."""
    said: dict[str, dict[Pair, bool]] = {}
    for answer in answers:
        if SAME[answer.answer] is not None:
            said.setdefault(answer.judge, {})[pair_of(answer)] = SAME[answer.answer]
    lines = []
    for one, other in combinations(sorted(said), 2):
        both = sorted(said[one].keys() & said[other].keys())
        if both:
            first, second = ([said[who][pair] for pair in both] for who in (one, other))
            alike = sum(a == b for a, b in zip(first, second, strict=True)) / len(both)
            lines.append(
                f"{one or 'no name'} and {other or 'no name'}: {len(both):,} pairs to which both "
                f"said yes or no, {alike:.0%} alike, Cohen's kappa {kappa(first, second)}"
            )
    return lines


def kappa(first: list[bool], second: list[bool]) -> str:
    """Agreement beyond chance (Cohen, 1960); undefined where both always say the same."""
    if len({*first, *second}) == 1:
        return "undefined (all the same answer)"
    from sklearn.metrics import cohen_kappa_score  # here, since it takes a second to load

    return f"{cohen_kappa_score(first, second):.2f}"
