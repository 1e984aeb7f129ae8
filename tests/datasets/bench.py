"""A data root and a working directory in which prepare runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from stages import prepare
from stages.common import artifacts
from stages.common.images import ImageStore
from stages.common.sections import BUNDLED
from tests.conftest import write_params
from tests.datasets import samples

EQUAL, UNEQUAL = [(8, 6)], [(8, 6), (5, 7), (20, 3)]
FOLDERS = {"train/cat": 3, "train/dog": 2, "val/cat": 1, "val/dog": 1}


class Bench:
    def __init__(self, folder: Path) -> None:
        self.root, self.work = folder / "raw", folder / "work"
        self.root.mkdir()
        self.work.mkdir()
        self.manifest = self.work / "manifest.parquet"
        self.images = self.work / "images.npy"
        self.unread = self.work / "unread.csv"

    def run(self, name: str, **changes: object) -> ImageStore:
        source = self.work / "source.json"
        source.write_text(json.dumps({"name": name, "files": 1, "bytes": 1, "digest": "x"}))
        watch = [] if name in BUNDLED else [name]
        leaves = {"data.name": name, "data.watch": watch}
        leaves |= {("seed" if k == "seed" else f"data.{k}"): v for k, v in changes.items()}
        file = write_params(self.work / "params.yaml", leaves)
        outputs = prepare.Outputs(self.manifest, self.images)
        prepare.run(prepare.Params.load(file), prepare.Inputs(source), outputs)
        return ImageStore(self.manifest, self.images, self.root)

    def columns(self) -> dict[str, list]:
        return pq.read_table(self.manifest).to_pydict()

    def unread_rows(self) -> list[list[str]]:
        """File and reason of what was not read."""
        with self.unread.open(newline="", errors="surrogateescape") as stream:
            header, *rows = csv.reader(stream)
        assert header == ["file", "reason"]
        return rows

    def about(self) -> dict[str, object]:
        return artifacts.metadata(artifacts.read_parquet(self.manifest, artifacts.MANIFEST, ""))


def write_shards(root: Path, sizes: list[tuple[int, int]]) -> list[np.ndarray]:
    """Seven images in two shards to train on, three to test."""
    images = [samples.pixels(i, sizes[i % len(sizes)]) for i in range(10)]
    files = [samples.encoded(image) for image in images]
    names = ["cat", "dog", "fox"]
    samples.shard(root / "train-00000-of-00002.parquet", files[:4], [0, 1, 2, 0], names=names)
    samples.shard(root / "train-00001-of-00002.parquet", files[4:7], [1, 2, 0], names=names)
    samples.shard(root / "test-00000-of-00001.parquet", files[7:], [2, 1, 0], names=names)
    return images
