"""A preset's text with other leaves: each in its place, with its comment or another."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

PRESETS = Path(__file__).parents[1] / "presets"
ENTRY = re.compile(r"( *)(\w+): *((?:[^\s#].*?)?) *(#.*)?$")  # indentation, key, value, comment
COLUMN = 22  # where comments begin, if the value is short enough
SEAL = re.compile(r"(?m)^# As written \((\w{16})\): .*\n")


class Leaf(NamedTuple):
    value: Any = ...  # ...: as it is
    comment: str | None = None  # None: as it is; "": none


def preset(name: str) -> str:
    """The whole recipe, which `files` makes the files of a project of."""
    return (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")


def values_of(text: str) -> dict[str, Any]:
    return YAML(typ="safe").load(text)


def with_leaves(text: str, leaves: Mapping[str, Leaf]) -> str:
    """`text` with the leaves of these dotted names; sections may be given another comment.

    Raises KeyError for a name that is not in the text.
    """
    left, lines = dict(leaves), []
    for name, line in named_lines(text):
        leaf = left.pop(name, None)
        lines.append(line if leaf is None else _line(line, leaf))
    if left:
        raise KeyError(f"not in the preset: {', '.join(left)}")
    return "\n".join(lines) + "\n"


def with_header(text: str, paragraphs: list[str]) -> str:
    """`text` with these lines as comments in the place of those that it begins with."""
    body = re.sub(r"\A(?:#.*\n)+", "", text)
    return "".join(f"# {line}".rstrip() + "\n" for line in paragraphs) + body


def sealed(text: str) -> str:
    """`text` with a line in its header by which `is_sealed` tells whether it was edited since."""
    line = f"# As written ({_digest(text)}): an edited file is replaced with --force alone.\n"
    head = re.match(r"(?:#.*\n)*", text)
    return text[: head.end()] + line + text[head.end() :]


def is_sealed(text: str) -> bool:
    """Whether `text` is as `sealed` made it."""
    found = SEAL.search(text)
    return found is not None and found[1] == _digest(SEAL.sub("", text, count=1))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def named_lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line, and the dotted name of the leaf or section that is in it, "" for none."""
    inside: list[tuple[int, str]] = []  # indentation and key of the sections around the line
    for line in text.splitlines():
        entry = ENTRY.match(line)
        if entry is None:
            yield "", line
            continue
        indent = len(entry[1])
        inside = [(depth, key) for depth, key in inside if depth < indent]
        inside.append((indent, entry[2]))
        yield ".".join(key for _, key in inside), line


def _line(line: str, leaf: Leaf) -> str:
    indent, key, value, comment = ENTRY.match(line).groups("")
    value = value if leaf.value is ... else _yaml(leaf.value)
    if leaf.comment is not None:
        comment = f"# {leaf.comment}" if leaf.comment else ""
    start = f"{indent}{key}: {value}".rstrip()
    width = COLUMN if len(start) < COLUMN else len(start) + 2
    return f"{start:<{width}}{comment}".rstrip()


def _yaml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(one) for one in value)}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
