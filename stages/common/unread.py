"""What prepare did not read, and why: told on the log, and in full in data/unread.csv.

The file is for people alone: no stage reads it, and neither git nor DVC keeps it. So it goes as
soon as it may be out of date.
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from stages.common import artifacts
from stages.common.errors import BrokenImage, BrokenImages, some

log = logging.getLogger(__name__)
UNREAD = Path("data/unread.csv")


def tell_unread(
    path: Path, broken: Sequence[BrokenImage], others: Sequence[str], skip_broken: bool
) -> None:
    """Names images that do not decode, and files that are no images; all of them in `path`.

    Raises:
        BrokenImages: some do not decode, unless these may be left out.
    """
    _write(path, broken, others)
    if others:
        log.warning(
            "files that are no images: %s (%s), such as %s; listed in %s",
            *(f"{len(others):,}", by_suffix(others), ", ".join(others[:3]), path),
        )
    if broken and not skip_broken:
        raise BrokenImages(broken, path)
    if broken:
        log.warning(
            "images left out, as they do not decode: %s; listed in %s: %s",
            *(f"{len(broken):,}", path, some(broken)),
        )


def _write(path: Path, broken: Sequence[BrokenImage], others: Sequence[str]) -> None:
    """Columns file and reason; no file where all was read."""
    if not broken and not others:
        artifacts.remove(path)
        return
    # A name that is not UTF-8 is written in its own bytes.
    with (
        artifacts.atomic(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(("file", "reason"))
        rows.writerows((one.where, one.reason) for one in broken)
        rows.writerows((name, "not an image") for name in others)


def by_suffix(names: Sequence[str]) -> str:
    """How many there are of each kind, the most first: ``12 .txt, 3 without suffix``."""
    counts = Counter(PurePath(name).suffix.lower() for name in names)
    kinds = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{count:,} {suffix or 'without suffix'}" for suffix, count in kinds[:5]]
    rest = sum(count for _, count in kinds[5:])
    return ", ".join(told + [f"{rest:,} of other kinds"] * bool(rest))
