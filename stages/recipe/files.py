"""The files that a recipe is written to: params.yaml, which is to be read on a page, and beside it
the blocks of methods and of evaluations, most of which are not in use."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from stages.common.param_file import EVALUATIONS, METHODS, PARAMS
from stages.common.plugins import plugins
from stages.recipe.text import PRESETS, preset, sealed

KEY = re.compile(r"(\w+):")
HEADS = {
    PARAMS: "",
    METHODS: """\
# What a method's training needs to know. sampler.method and pretrain.method in params.yaml name a
# block each, and a change in it reruns only what used it. On the command line,
# `dvc exp run -S methods.yaml:simclr.temperature=0.1`.

""",
    EVALUATIONS: """\
# The evaluations beside linear_eval. `evaluations` in params.yaml names those that run; in a block,
# a leaf left out has its default, and a `root` is a folder outside. On the command line,
# `dvc exp run -S 'evaluations=[transfer]' -S 'evaluations.yaml:transfer.datasets=[digits]'`.

""",
}


def files(recipe: str) -> dict[str, str]:
    """The text of each file, by its name, of a whole `recipe`."""
    texts = dict.fromkeys(HEADS, "")
    for key, section in _sections(recipe):
        if key == "methods":
            _, _, blocks = section.partition("methods:")
            texts[METHODS] += re.sub(r"(?m)^  ", "", blocks.partition("\n")[2])
        else:
            texts[EVALUATIONS if key in plugins("evaluation") else PARAMS] += section
    return {name: HEADS[name] + text.strip("\n") + "\n" for name, text in texts.items()}


def sealed_files(recipe: str) -> dict[str, str]:
    """As `files`; where a text is no preset's, with a line that tells whether it was edited."""
    return {
        name: text if text in originals() else sealed(text) for name, text in files(recipe).items()
    }


@functools.cache
def originals() -> frozenset[str]:
    """The texts that the presets are written to."""
    names = [file.stem for file in PRESETS.glob("*.yaml")]
    return frozenset(text for name in names for text in files(preset(name)).values())


def _sections(recipe: str) -> Iterator[tuple[str, str]]:
    """(key, text) of each top-level section, with the comments and blank lines above it."""
    key, text, above = "", "", ""
    for line in recipe.splitlines(keepends=True):
        if not line.strip() or line.startswith("#"):
            above += line
        elif found := KEY.match(line):
            if key:
                yield key, text
            key, text, above = found[1], f"{above}{line}", ""
        else:
            text, above = text + above + line, ""
    yield key, text + above
