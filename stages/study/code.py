"""Whether results are of the code that is here: what dvc.yaml lists, as git has it in a commit."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from stages.comparison import revisions
from stages.comparison.differences import flatten
from stages.study.clone import git
from stages.study.trainings import key

PIPELINE = "dvc.yaml"
DEPENDENCY = re.compile(r"^ +- (stages/\S+)$", re.MULTILINE)
METHOD = re.compile(r"\$\{\w+\.method\}")  # of the sampler or the arms
CHOSEN = re.compile(r"\$\{([\w.]+)\}")  # by a parameter: stages/ssl/methods/${pretrain.method}.py
EVALUATION = "${item.evaluation}"  # of a matrix


def code_of(commit: str, params: Mapping[str, Any]) -> str:
    """A digest of all code that decides an experiment of `params`, as it is in `commit`; one that
    is not here any more has none that is another's."""
    files = _files(commit)
    return _digest(files, params, _listed(files[PIPELINE])) if PIPELINE in files else commit


def code_by_method(commit: str, params: Mapping[str, Any]) -> dict[str, str]:
    """A digest of the code that decides a training, by the method that it is by: a sampler is the
    same whatever method trains the arms, and whatever they are evaluated by."""
    files = _files(commit)
    listed = [file for file in _listed(files[PIPELINE]) if EVALUATION not in file]
    return {
        method: _digest(files, params, [METHOD.sub(method, file) for file in listed])
        for method in (params["sampler"]["method"], params["pretrain"]["method"])
    }


def _digest(files: Mapping[str, str], params: Mapping[str, Any], entries: Iterable[str]) -> str:
    """Of what `entries` of a pipeline stand for with these params, and of the pipeline itself."""
    leaves = flatten(dict(params))
    listed = {
        CHOSEN.sub(lambda m: str(leaves.get(m[1])), file.replace(EVALUATION, name))
        for file in entries
        for name in (leaves.get("evaluations", ()) if EVALUATION in file else ("",))
    }
    return key(sorted((file, files.get(file)) for file in (*listed, PIPELINE)))


@functools.cache
def _files(commit: str) -> dict[str, str]:
    """Git's digest of each file and folder of code in a commit."""
    if revisions.commit_of(commit) is None:
        return {}
    lines = git(".", "ls-tree", "-r", "-t", commit, "--", "stages", PIPELINE).splitlines()
    return {line.split("\t")[1]: line.split()[2] for line in lines}


@functools.cache
def _listed(digest: str) -> list[str]:
    """The code that a pipeline of this digest says its stages run."""
    return sorted(set(DEPENDENCY.findall(git(".", "cat-file", "blob", digest))))
