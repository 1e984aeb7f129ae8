"""Whether a revision's results are those of its params, as its dvc.lock tells.

They are not where params were committed before they ran, or where an experiment ran some of the
stages alone (`dvc exp run mine`). DVC itself tells it of the workspace only.
"""

from __future__ import annotations

import functools
import re

from ruamel.yaml import YAML, YAMLError

from stages.comparison.differences import Leaves, leaves_of

# DVC writes the file alike every time. Whole, it would take longer to parse than all else here.
STAGE = re.compile(r"^  (\S+):\n((?:    .*\n?)+)", re.MULTILINE)
PARAMS = re.compile(r"^    params:\n((?:      .*\n?)+)", re.MULTILINE)
FILE = re.compile(r"^    - path: (\S+)\n(?:      .*\n)*?      md5: (\S+)$", re.MULTILINE)


def outdated(params: Leaves, lock: str) -> list[str]:
    """Params that are others than those that a stage ran with, and files that a stage has made
    since another read them; of the stages of `params` alone, as others may be of long ago."""
    changed: list[str] = []
    contents: dict[str, str] = {}  # digest by path
    for name, block in STAGE.findall(lock):
        if not _current(name, params):
            continue
        for key, value in params_of(block).items():
            if key not in params or params[key] != value:
                changed.append(key)
        for path, digest in FILE.findall(block):
            if not path.startswith("stages/") and contents.setdefault(path, digest) != digest:
                changed.append(path)
    return list(dict.fromkeys(changed))


def _current(stage: str, params: Leaves) -> bool:
    """Whether `params` still have the arm or round, and the seed, that a stage is of."""
    base, _, item = stage.partition("@")
    if not item or base in ("source", "checkpoint"):
        return True
    of, _, seed = item.rpartition("-")
    arms, rounds, seeds = (params.get(key) or [] for key in ("arms", "rounds", "seeds"))
    known = [*arms, *(f"round{place}" for place in range(len(rounds)))]
    return of in known and seed in map(str, seeds)


def params_of(block: str) -> Leaves:
    """Those that a stage ran with."""
    found = PARAMS.search(block)
    return _leaves(found[1]) if found else {}


@functools.cache  # most stages of most experiments are those of another, too
def _leaves(block: str) -> Leaves:
    try:
        return leaves_of(YAML(typ="safe").load(block))
    except (YAMLError, TypeError, AttributeError):  # of another DVC
        return {}
