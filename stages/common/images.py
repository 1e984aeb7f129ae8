"""The prepared images, read by id, however prepare stored them. Never imports torch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from stages.common import artifacts, env
from stages.common.errors import ArtifactError, BrokenImage, DataError
from stages.common.pixels import decode


class ImageStore:
    """Labels and images of a manifest. Cheap to copy into loader workers: files open on first use.

    Attributes:
        ids: (N,) int64, 0…N-1.
        splits: (N,) str, train | labelled | test.
        labels: (N,) int32, -1 = none.
        classes: names of the classes, or None.
        name: of the data set, "" if not known.
    """

    def __init__(self, manifest: Path, images: Path, root: Path | None = None) -> None:
        table = artifacts.read_parquet(manifest, artifacts.MANIFEST, "prepare")
        self.images = images
        self.root = root
        self.ids = table["id"].to_numpy()
        self.splits = np.asarray(table["split"].to_pylist(), dtype=object)
        self.labels = table["label"].to_numpy()
        about = artifacts.metadata(table)
        self.classes: list[str] | None = about.get("classes")
        self.name: str = about.get("name", "")
        self._offsets, self._lengths = table["offset"].to_numpy(), table["length"].to_numpy()
        self._paths = table["path"].to_pylist() if table["path"].null_count < len(table) else None
        self._digests = table["digest"].to_pylist() if self._paths else None
        if not images.exists():
            raise ArtifactError(images, "is missing", "prepare")

    def __getstate__(self) -> dict:
        """Without the memory-map, which a process opens for itself."""
        return {k: v for k, v in vars(self).items() if k != "_file"}

    @cached_property
    def _file(self) -> np.ndarray:
        try:
            return np.load(self.images, mmap_mode="r")
        except (ValueError, EOFError) as error:
            reason = f"is damaged or cut short ({error})"
            raise ArtifactError(self.images, reason, "prepare") from None

    @property
    def packed(self) -> np.ndarray | None:
        """(N, H, W, 3) uint8, memory-mapped, row = id; None where images are not held decoded."""
        return self._file if self._file.ndim == 4 else None

    def select(self, split: str) -> np.ndarray:
        """(M,) int64 ids of a split, ascending."""
        return self.ids[self.splits == split]

    def read(self, id: int) -> Image.Image:
        """The image in RGB. Raises DataError naming a file that is gone or does not decode."""
        if self.packed is not None:
            return Image.fromarray(self.packed[id])
        if self._paths is None:
            start = self._offsets[id]
            source = self._file[start : start + self._lengths[id]].tobytes()
        else:
            source = (self.root or env.data_root()) / self._paths[id]
        name = str(source) if self._paths else f"image {id}"
        try:
            return decode(source, name)
        except BrokenImage as error:
            raise DataError(
                f"{name}: no longer reads ({error.reason}); put it back, or run `dvc repro prepare`"
            ) from None

    def key(self, id: int) -> str:
        """A name of the image's content as it is stored (decoded, or the bytes of its file), which
        it keeps when the data set is put together anew: 16 hexadecimal digits."""
        if self._digests:
            return self._digests[id]
        start = self._offsets[id]
        content = (
            self.packed[id]
            if self.packed is not None
            else self._file[start : start + self._lengths[id]]
        )
        return hashlib.blake2b(np.ascontiguousarray(content), digest_size=8).hexdigest()

    def find(self, names: Collection[tuple[int, str]]) -> dict[tuple[int, str], int]:
        """The id that each of `names` has now; those that are gone are left out.

        A name is the id that an image had, which is kept where it still has that key, and its key.
        Others are looked for among all (the first of several alike), unless the images are streamed
        from one file, which would be read as a whole.
        """
        found = {(id, key): id for id, key in names if self._has(id, key)}
        if len(found) < len(names) and (self._digests or self.packed is not None):
            everywhere = {self.key(id): id for id in reversed(self.ids.tolist())}
            moved = ((id, key) for id, key in names if (id, key) not in found)
            found |= {(id, key): everywhere[key] for id, key in moved if key in everywhere}
        return found

    def _has(self, id: int, key: str) -> bool:
        return 0 <= id < len(self.ids) and self.key(id) == key

    def pixels(self, id: int) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self.packed[id] if self.packed is not None else np.asarray(self.read(id))
