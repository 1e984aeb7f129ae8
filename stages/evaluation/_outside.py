"""What an evaluation reads from outside the repository. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stages.common import env, listing
from stages.common.errors import DataError

PREPARED = "evaluation_sources"  # below the state directory: sets from there, as prepare makes them


def describe(evaluation: str, block: dict[str, Any]) -> dict[str, object]:
    """Names, sizes and times of the files in every folder that `block` calls a `root`.

    A relative one is below the checkout. Raises DataError when it is no folder.
    """
    found: dict[str, object] = {}
    for root in roots(block):
        folder = env.in_repository(root)
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder, which {evaluation} in evaluations.yaml has as a root; "
                "put the data there, or change root"
            )
        found[root] = listing.describe(folder)
    return {"name": evaluation, "roots": found}


def roots(block: Any) -> Iterator[str]:
    """The values of all leaves called `root`, however deep; null is none."""
    if isinstance(block, dict):
        for key, value in block.items():
            if key == "root" and isinstance(value, str):
                yield value
            else:
                yield from roots(value)
    elif isinstance(block, list):
        for value in block:
            yield from roots(value)
