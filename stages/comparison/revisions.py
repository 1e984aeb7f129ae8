"""What can be compared: DVC's experiments and git's revisions, found by git alone.

DVC keeps a finished experiment as `refs/exps/<first 2 of its baseline>/<rest>/<name>`, and those
that wait in its queue, or failed there, as entries of the reflogs of two stashes.
"""

from __future__ import annotations

import difflib
import json
import re
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.common.errors import SeppError

WORKSPACE, HEAD = "workspace", "HEAD"  # the first is what DVC calls the files on disk
EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38,})/([^/]+)")
STASHED = re.compile(r"commit: dvc-exp:[0-9a-f]+:([0-9a-f]+):([^:]*)")
STASHES = {
    "refs/exps/celery/stash": "waits in the queue; `dvc queue start` runs it",
    "refs/exps/celery/failed": "failed; `dvc queue logs {name}` says why",
}
RUNNING = 2  # in DVC's files of what its queue runs


class Revision(NamedTuple):
    name: str
    commit: str | None  # None: the workspace, whose files are on disk
    baseline: str | None = None  # of an experiment: the commit that it started from


class LeftOut(NamedTuple):
    name: str
    reason: str


def experiments() -> list[Revision]:
    """All of DVC's finished experiments, the oldest first. Raises SeppError outside git."""
    listed = _git("for-each-ref", "--sort=committerdate", "--format=%(objectname) %(refname)")
    if listed is None:
        raise SeppError(
            f"{Path.cwd()}: is not in a git repository, which is what holds experiments: run the "
            "command in your checkout"
        )
    found = []
    for line in listed.splitlines():
        commit, ref = line.split(" ", 1)
        if parts := EXPERIMENT.fullmatch(ref):
            found.append(Revision(parts[3], commit, parts[1] + parts[2]))
    return found


def unfinished(finished: Collection[Revision]) -> list[LeftOut]:
    """Experiments that wait, run or failed in DVC's queue, and were not `finished` otherwise."""
    done = {(one.baseline, one.name) for one in finished}
    found: dict[tuple[str, str], str] = {}
    for stash, reason in STASHES.items():
        for line in (_git("log", "-g", "--format=%gs", stash, "--") or "").splitlines():
            if entry := STASHED.match(line):
                found[entry[1], entry[2]] = reason.format(name=entry[2])
    for baseline, name in _running():
        found[baseline, name] = "still runs, or was killed; `dvc queue status` tells"
    return [LeftOut(key[1], reason) for key, reason in found.items() if key not in done]


def _running() -> Iterator[tuple[str, str]]:
    for file in sorted(Path(".dvc/tmp/exps/run").glob("*/*.run")):
        try:
            told = json.loads(file.read_text())
            if told["status"] == RUNNING:
                yield told["baseline_rev"], told["name"]
        except (OSError, ValueError, KeyError, TypeError):  # gone meanwhile, or of another DVC
            continue


def head() -> str | None:
    """The commit of HEAD; None before the first."""
    return commit_of(HEAD)


def commit_of(revision: str) -> str | None:
    found = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    return found.strip() if found else None


def choose(names: Sequence[str]) -> tuple[list[Revision], list[LeftOut]]:
    """What `names` stand for, each once: an experiment, else a git revision, or the workspace; one
    alone has the workspace before it. Without names: the workspace, HEAD, and all experiments.

    Raises SeppError for names that are neither, or of several experiments.
    """
    finished = experiments()
    others = unfinished(finished)
    if not names:
        here = head()
        own = [Revision(WORKSPACE, None), *([Revision(HEAD, here)] if here else [])]
        return own + finished, others
    chosen: dict[Revision, None] = {}
    left_out, unknown = [], []
    for name in (WORKSPACE, *names) if len(names) == 1 else names:
        if name == WORKSPACE:
            chosen[Revision(WORKSPACE, None)] = None
        elif experiment := _experiment(name, finished):
            chosen[experiment] = None
        elif waiting := [one for one in others if one.name == name]:
            left_out += waiting
        elif commit := commit_of(name):
            chosen[Revision(name, commit)] = None
        else:
            unknown.append(name)
    if unknown:
        raise SeppError(_unknown(unknown, [one.name for one in (*finished, *others)]))
    return list(chosen), left_out


def _experiment(name: str, finished: Sequence[Revision]) -> Revision | None:
    found = [one for one in finished if one.name == name]
    if len(found) > 1:  # as DVC does: of several, the one that started from here
        here = head()
        found = [one for one in found if one.baseline == here] or found
    if len(found) > 1:
        commits = ", ".join(one.commit[:7] for one in found)
        raise SeppError(
            f"{name}: names {len(found)} experiments, of other commits than this: give the commit "
            f"of the one that you mean, of {commits}"
        )
    return found[0] if found else None


def _unknown(names: Sequence[str], known: Sequence[str]) -> str:
    near = [match for name in names for match in difflib.get_close_matches(name, known, n=2)]
    meant = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
    kind = "no experiment and no git revision" if len(names) == 1 else "no experiments or revisions"
    return f"{', '.join(names)}: {kind}{meant or '; `dvc exp list -A` lists the experiments'}"


def contents(commits: Collection[str], files: Collection[str]) -> dict[tuple[str, str], str]:
    """The text of each of `files`, relative to the working directory, in each of `commits`; a file
    that a commit lacks is left out. One call of git, however many there are."""
    wanted = [(commit, file) for commit in commits for file in files]
    asked = "".join(f"{commit}:./{file}\n" for commit, file in wanted)
    reply = subprocess.run(
        ["git", "cat-file", "--batch"], input=asked.encode(), capture_output=True, check=True
    ).stdout
    found, place = {}, 0
    for key in wanted:
        end = reply.index(b"\n", place)
        header, place = reply[place:end].split(), end + 1
        if header[-2:-1] == [b"blob"]:  # <object> blob <bytes>; else it ends with `missing`
            size = int(header[-1])
            found[key] = reply[place : place + size].decode(errors="replace")
            place += size + 1
    return found


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace")
    return None if done.returncode else done.stdout
