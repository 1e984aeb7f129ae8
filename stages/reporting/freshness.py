"""Whether the results in a checkout are those of its params, code and data, as DVC sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from stages.common.param_file import PARAMS, read_yaml

# The page shows these, but no result is made from them.
BESIDE = ("reports/scores.csv", "reports/metrics/scores.json")
LISTED = 3  # changes that are named; of the rest, how many


def stale(but: str | None = None) -> str | None:
    """What has changed since the results were made, in one line; None if nothing has, or if DVC
    cannot tell. The stage `but` does not count.

    Artefacts that are not here, as in a fresh clone, are no change. While a DVC command runs here,
    nothing is asked: it may give up if it finds its lock taken.
    """
    if "DVC_ROOT" not in os.environ and _running():  # within a stage DVC waits for its end
        return "what a `dvc` command is making here at the moment"
    asked = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"], capture_output=True, text=True
    )
    lock = Path("dvc.lock")
    if asked.returncode or not lock.is_file():
        return None
    ran = read_yaml(lock).get("stages", {})
    status = {stage: entries for stage, entries in json.loads(asked.stdout).items() if stage != but}
    changes = [c for stage in status if stage in ran for c in _changes(stage, status[stage])]
    changes += [f"{stage} has not run" for stage in status if stage not in ran]
    return listed(list(dict.fromkeys(changes)))


def _running(lock: Path = Path(".dvc/tmp/rwlock")) -> bool:
    """Whether a DVC command is running a stage in this checkout."""
    try:
        held = json.loads(lock.read_text())
    except (FileNotFoundError, ValueError):
        return False
    writers = held.get("write", {}).values()
    readers = (one for several in held.get("read", {}).values() for one in several)
    return any(_alive(one["pid"]) for one in (*writers, *readers))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def listed(changes: list[str]) -> str | None:
    """The first of `changes` and how many more there are, in one line; None if there are none."""
    more = f" and {len(changes) - LISTED} more" if len(changes) > LISTED else ""
    return f"{', '.join(changes[:LISTED])}{more}" if changes else None


def _changes(stage: str, entries: list) -> Iterator[str]:
    """What of a stage's params, code and inputs is another than when it last ran."""
    for entry in entries:
        if entry == "changed command":
            yield f"the command of {stage}"
        for files in entry.values() if isinstance(entry, dict) else ():
            for file, change in files.items() if isinstance(files, dict) else ():
                if isinstance(change, dict):  # of a params file: its keys
                    beside = "" if file == PARAMS else f"{file}: "
                    yield from (f"{beside}{key}" for key in change)
                elif change in ("modified", "new") and file not in BESIDE:
                    yield file
