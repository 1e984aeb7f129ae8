"""What lies below a folder: one walk for all that look, so that they see the same files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stages.common.errors import DataError
from stages.common.pixels import is_image


def walk(
    folder: Path, prefix: str = "", above: frozenset[str] = frozenset()
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(name relative to `folder`, entry) of every file below it but hidden ones, in no order.

    Links are followed, but not back into a folder of `above` that holds them.

    Raises:
        DataError: a folder may not be listed, so that nobody knows what is in it.
    """
    here = os.path.realpath(folder)
    if here in above:
        return
    try:
        entries = [e for e in os.scandir(folder) if not e.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be listed ({error.strerror}); mend or remove it"
        ) from None
    for entry in entries:
        if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
            yield from walk(Path(entry.path), f"{prefix}{entry.name}/", above | {here})
        else:
            yield prefix + entry.name, entry


def images_in(folder: Path) -> tuple[list[str], list[str]]:
    """Relative names of the images below `folder`, and of the files that are none.

    Both ordered by folder and name, as torchvision's ImageFolder has the images of a class. A link
    to nowhere counts as an image, so that whoever reads it is told; a pipe or a device does not.
    """
    images, others = [], []
    for name, entry in walk(folder):
        found = images if _is_file(entry) and is_image(Path(entry.path)) else others
        found.append(name)
    return sorted(images, key=os.path.split), sorted(others, key=os.path.split)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Or a link to nowhere. Opening a pipe would wait for ever."""
    if entry.is_symlink():
        return os.path.isfile(entry.path) or not os.path.exists(entry.path)
    return entry.is_file()
