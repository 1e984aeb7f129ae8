"""Weights that are given: where they are, the digest of what they hold, and what was recorded."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from stages.common import artifacts, env
from stages.common.errors import ArtifactError, CheckpointError, SeppError
from stages.common.given import Given
from stages.common.rounds import left_after

CONFIG = "config.json"  # of a folder; it says which network the weights beside it are of
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # of which the first that is there is read
NONE: dict[str, object] = {"name": None, "bytes": 0, "digest": ""}  # where no file is watched


def locate(given: Given) -> Path:
    """The file or folder called `given.name`, below the user's checkout unless it is absolute.

    Raises:
        CheckpointError: there is none.
    """
    path = env.in_repository(given.name)
    if not path.exists():
        raise CheckpointError(
            f"{given.leaf} {given.name!r}: neither a file or folder ({path}) nor a name such as "
            "ResNet50_Weights.IMAGENET1K_V2 or timm/resnet50.a1_in1k"
        )
    return path


def made_here(given: Given) -> bool:
    """Whether they are an arm's of this pipeline, which removes them before it trains it anew."""
    encoder = r"models/[a-z]\w*-\d+(/" + left_after(r"\d+") + ")?"
    return re.fullmatch(encoder, given.name.strip("./")) is not None


def in_folder(path: Path) -> Path:
    """The weights file of a folder: the first of WEIGHTS, if none of them is there."""
    return next((path / part for part in WEIGHTS if (path / part).exists()), path / WEIGHTS[0])


def describe(given: Given | None) -> dict[str, object]:
    """What the record of `given` says; raises CheckpointError if there is no such file or folder.

    Weights that a library knows by name are not looked at.
    """
    if given is None or given.is_named:
        return NONE
    path = locate(given)
    files = [path / CONFIG, in_folder(path)] if path.is_dir() else [path]
    try:
        digests = [digest(file) for file in files]
        total = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise CheckpointError(
            f"{given.leaf} {given.name!r}: {error.filename}: {error.strerror}; name a weights "
            f"file, or a folder that holds {CONFIG} and {' or '.join(WEIGHTS)}"
        ) from None
    together = hashlib.sha256("".join(digests).encode()).hexdigest()
    found = digests[0] if len(files) == 1 else together
    return {"name": given.name, "bytes": total, "digest": found}


def identity(given: Given | None) -> dict[str, object] | None:
    """Name and digest of the weights, for the reader of what came of them; a library's name is its
    weights' identity."""
    return given and {"name": given.name, "digest": describe(given)["digest"]}


def check_record(file: Path, given: Given | None) -> None:
    """That `file` is about `given`: DVC tracks what it says, and not the weights themselves.

    Without a file or folder to watch there is no stage that writes so, and DVC, which finds the
    record of earlier weights, would train anew what it has in its cache.

    Raises:
        SeppError: it is about others, or other content.
    """
    watched = given.name if given and not given.is_named else None
    record = artifacts.read_json(file, "checkpoint")
    name = record.get("name")
    if watched and name != watched:
        raise ArtifactError(file, f"is about {name}, not {watched}", "checkpoint")
    if name != watched:
        raise SeppError(
            f"{file}: is still about {name}, but params.yaml names no file or folder of weights "
            "there; run `sepp checkpoint`, which writes so, and then `dvc repro`"
        )
    if record != describe(given):
        raise ArtifactError(file, f"is about other content of {name}", "checkpoint")


def digest(file: Path) -> str:
    """SHA-256 of the content, which is read again only where the file has been touched since.

    What was read is remembered beside the unfinished trainings, and not in the artefact: a file
    that was touched, but holds the same, is to change nothing.
    """
    memory, key, status = env.state_dir() / "digests.json", str(file.resolve()), file.stat()
    seen = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    known = _remembered(memory)
    if known.get(key, [])[:-1] != seen:
        known[key] = [*seen, _sha256(file)]
        artifacts.write_json(memory, known)
    return known[key][-1]


def _remembered(memory: Path) -> dict[str, list]:
    """Size, two times and digest by path; nothing where there is no such file, or half of one."""
    try:
        return json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}


def _sha256(file: Path) -> str:
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            found.update(block)
    return found.hexdigest()
