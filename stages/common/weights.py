"""The weights that `sampler.checkpoint` names: where they are, and the digest of what they hold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from stages.common import artifacts, env
from stages.common.errors import CheckpointError

ENCODER = ("config.json", "model.safetensors")  # what is read of a folder
NONE: dict[str, object] = {"name": None, "bytes": 0, "digest": ""}  # where no file is watched


def locate(name: str) -> Path:
    """The file or folder called `name`, below the user's checkout unless it is absolute.

    Raises:
        CheckpointError: there is none.
    """
    path = env.in_repository(name)
    if not path.exists():
        raise CheckpointError(
            f"sampler.checkpoint {name!r}: neither a file or folder ({path}) nor a torchvision "
            "weight such as ResNet50_Weights.IMAGENET1K_V2"
        )
    return path


def describe(name: str) -> dict[str, object]:
    """What `data/checkpoint.json` says of the file or folder `name`; raises CheckpointError."""
    path = locate(name)
    files = [path / part for part in ENCODER] if path.is_dir() else [path]
    try:
        digests = [digest(file) for file in files]
        total = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise CheckpointError(
            f"sampler.checkpoint {name!r}: {error.filename}: {error.strerror}; name a weights "
            f"file, or a folder that holds {' and '.join(ENCODER)}"
        ) from None
    together = hashlib.sha256("".join(digests).encode()).hexdigest()
    return {"name": name, "bytes": total, "digest": digests[0] if len(files) == 1 else together}


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
