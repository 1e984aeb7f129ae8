"""How an encoder came to be, and what it was worth, as far as the checkout that it lies in tells.

An encoder is known by its content and not by its name: what `dvc.lock` records of other files of
that name says nothing of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from stages.common import cost
from stages.common.artifacts import read_json
from stages.common.intervals import wilson
from stages.common.rounds import left_after
from stages.comparison.differences import Leaves
from stages.comparison.lock import FILE, STAGE, params_of

LOCK, SUMMARY = "dvc.lock", "reports/summary.json"
SCORES = {"linear_top1": "linear classifier, top-1", "linear_top5": "linear classifier, top-5"}
SCORES |= {"knn_top1": "k nearest neighbours, top-1"}


class History(NamedTuple):
    stage: str  # that trained the encoder, as DVC calls it
    params: Leaves  # of all stages that led to it
    data: dict | None  # name, train, test: images
    result: dict | None  # of its evaluation
    arm: dict | None  # statistics of its arm over seeds
    gain: dict | None  # of that arm over vanilla
    pairs: dict | None  # that were mined
    further: dict[str, dict]  # what further evaluations of it found, by their names


class _Ran(NamedTuple):
    """A stage that ran: digests by path."""

    params: Leaves
    deps: dict[str, str]
    outs: dict[str, str]


def history(folder: Path) -> History | None:
    """None where no dvc.lock above `folder` records a stage that wrote what it holds.

    What an encoder left on its way (`epoch-N`) has the history of the whole, but no results.
    """
    root = next((p for p in folder.resolve().parents if (p / LOCK).is_file()), None)
    if root is None:
        return None
    ran = {name: _ran(block) for name, block in STAGE.findall((root / LOCK).read_text())}
    part = fnmatch(folder.name, left_after("*"))
    digest = folder_digest(folder.parent if part else folder)
    maker = next((name for name, one in ran.items() if digest in one.outs.values()), None)
    if maker is None:
        return None
    params: Leaves = {}
    for name in _led_to(maker, ran):
        params |= ran[name].params
    summary = _recorded_json(root, SUMMARY, ran) or {}
    result = None if part else _result(root, digest, ran)
    arm = _arm(result, summary)
    return History(
        maker,
        dict(sorted(params.items())),
        summary.get("data") if arm else None,
        result,
        arm,
        summary["gain"].get(result["arm"]) if arm else None,
        summary["pairs"] if arm and result["arm"] == "sepp" else None,
        {} if part else _further(root, digest, ran),
    )


def measured(result: dict) -> list[tuple[str, float, float, float]]:
    """(what, percent, 95 % interval) of each score; the interval is of the choice of test images
    alone."""
    images = result["test_images"]
    rows = []
    for key, name in SCORES.items():
        if key in result:
            low, high = wilson(result[key] / 100 * images, images)
            rows.append((name, result[key], 100 * low, 100 * high))
    return rows


def reported(result: dict) -> list[tuple[str, float]]:
    """(title, percent) of each number of a further evaluation."""
    return [(title, result[name]) for name, title in result["reported"]]


def folder_digest(folder: Path) -> str:
    """As DVC digests a folder: the MD5 of the list of its files and theirs."""
    files = sorted(file.relative_to(folder).parts for file in folder.rglob("*") if file.is_file())
    listed = [{"md5": _md5(folder.joinpath(*parts)), "relpath": "/".join(parts)} for parts in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"


def _md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def _ran(block: str) -> _Ran:
    before, _, after = block.partition("\n    outs:\n")
    return _Ran(params_of(block), dict(FILE.findall(before)), dict(FILE.findall(after)))


def _led_to(stage: str, ran: Mapping[str, _Ran]) -> list[str]:
    """The stages whose outs, as they are recorded, a stage was made from; itself the last."""
    found: dict[str, None] = {}
    for path, digest in ran[stage].deps.items():
        for name, one in ran.items():
            if one.outs.get(path) == digest and name not in found:
                found |= dict.fromkeys(_led_to(name, ran))
    return [*found, stage]


def _recorded_json(root: Path, path: str, ran: Mapping[str, _Ran]) -> dict | None:
    """What a stage wrote, where it is still there."""
    recorded = {one.outs.get(path) for one in ran.values()}
    file = root / path
    return read_json(file, "report") if file.is_file() and _md5(file) in recorded else None


def _result(root: Path, digest: str, ran: Mapping[str, _Ran]) -> dict | None:
    """The linear evaluation of the encoder of that digest."""
    return next(iter(_evaluations("linear_eval", root, digest, ran).values()), None)


def _further(root: Path, digest: str, ran: Mapping[str, _Ran]) -> dict[str, dict]:
    """Its further evaluations, by the folders of their results, which have their names."""
    found = _evaluations("evaluate", root, digest, ran).items()
    return {Path(path).parent.name: result for path, result in found}


def _evaluations(stage: str, root: Path, digest: str, ran: Mapping[str, _Ran]) -> dict[str, dict]:
    """What stages whose names begin so have found of the encoder of that digest, by path."""
    found = {}
    for name, one in ran.items():
        if name.startswith(stage) and digest in one.deps.values():
            path = next(out for out in one.outs if not Path(out).is_relative_to(cost.FOLDER))
            result = _recorded_json(root, path, ran)
            if result and "skipped" not in result:
                found[path] = result
    return found


def _arm(result: dict | None, summary: dict) -> dict | None:
    """The statistics of which the result is a part."""
    arm = summary.get("arms", {}).get(result["arm"]) if result else None
    known = dict(zip(arm["seeds"], arm["top1"], strict=True)) if arm else {}
    if not known or abs(known.get(result["seed"], -1) - result["linear_top1"]) > 1e-4:
        return None
    return arm
