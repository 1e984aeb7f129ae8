"""Bring a data set into the form that all later stages read: a manifest, and packed images.

Every image is decoded once here, so that a broken one is found before a long training and not in
the middle of it. Images of one size (which `data.resize` makes them) that fit `data.pack_gib` are
held decoded in images.npy; the images of larger Parquet sets are held there as encoded bytes;
larger folders stay where they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages import datasets
from stages.common import artifacts, env
from stages.common.command import command, params_option
from stages.common.cost import cost_path, measured
from stages.common.errors import ArtifactError, DataError, ParamError
from stages.common.params import StageParams
from stages.common.sections import BUNDLED, Data, Seed
from stages.common.unedited import unedited
from stages.common.unread import UNREAD, tell_unread
from stages.datasets import Dataset, Split
from stages.datasets._holdout import with_test
from stages.datasets._survey import Survey, decoded, survey

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    source: Path = Path("data/source.json")


@dataclass(frozen=True)
class Outputs:
    manifest: Path = Path("data/manifest.parquet")
    images: Path = Path("data/images.npy")
    cost: Path = cost_path("prepare")


class Params(StageParams):
    seed: Seed
    data: Data


def run(params: Params, inputs: Inputs, outputs: Outputs) -> int:
    """Returns and raises what `make` does, and raises ArtifactError where DVC has listed the files
    of another set."""
    # For a bundled set the listing may be an older one of another set, which says nothing.
    if params.data.name not in BUNDLED:
        listed = artifacts.read_json(inputs.source, "source").get("name")
        if listed != params.data.name:
            raise ArtifactError(inputs.source, f"lists {listed}, not {params.data.name}", "source")
    return make(params, env.data_root(), outputs, outputs.manifest.with_name(UNREAD.name))


def make(params: Params, root: Path, outputs: Outputs, unread: Path) -> int:
    """Manifest and images of the data set that lies in `root`; `unread` lists what is not read.

    Returns how many images there are. Raises DataError or BrokenImages for unfit data, ParamError
    for a limit above its images, or a split of what has test images of its own or no labels.
    """
    data = params.data
    artifacts.remove(unread)
    dataset = datasets.read(data.name, root)
    if dataset.unlabelled and not data.unlabelled:
        raise DataError(
            f"{dataset.unlabelled}; rename it, or set data.unlabelled: true to do without"
        )
    surveys = [survey(*part, root) for part in _parts(dataset, data, params.seed)]
    broken = [one for found in surveys for one in found.broken]
    tell_unread(unread, broken, dataset.others, data.skip_broken)
    _tell_black([name for found in surveys for name in found.black])
    for found in surveys:
        if not len(found.rows):
            raise DataError(f"{root}: the {found.split.name} split has no images")
    size = _packed_size(surveys, data)
    if size is None and any(found.split.pixels is not None for found in surveys):
        raise ParamError(
            "params.yaml", "data.pack_gib", f"{data.pack_gib} GiB do not hold {data.name}: raise it"
        )
    _write_images(outputs.images, surveys, size, data.resize)
    about = {"name": data.name, "classes": dataset.classes, "left_out": len(broken)}
    about["resize"] = data.resize  # what lies beside the square is lost
    table = _manifest(surveys, size is not None)
    artifacts.write_parquet(outputs.manifest, table, artifacts.MANIFEST, about)
    log.info("%s: %s", data.name, _summary(surveys, table, size is not None))
    return len(table)


def _parts(dataset: Dataset, data: Data, seed: int) -> list[tuple[Split, np.ndarray]]:
    """The splits, with the rows of each that are used, ascending: those of train are first divided
    (data.split), then drawn at random (data.limit), so that another limit is tested on the same."""
    parts = [(split, np.arange(len(split.labels))) for split in dataset.splits]
    if data.split is not None:
        parts = with_test(dataset, data.name, data.split, seed)
    (train, rows), *others = parts
    if data.limit is None:
        return parts
    if data.limit > len(rows):
        raise ParamError(
            "params.yaml", "data.limit", f"{data.limit} is above the {len(rows)} training images"
        )
    kept = np.random.default_rng(seed).choice(len(rows), data.limit, replace=False)
    return [(train, rows[np.sort(kept)]), *others]


def _tell_black(names: list[str]) -> None:
    if names:
        log.warning(
            "images that are all but black: %s, such as %s; if they hold 12 bits in 16, scale them",
            *(f"{len(names):,}", names[0]),
        )


def _summary(surveys: list[Survey], table: pa.Table, pack: bool) -> str:
    """How many images there are, and of how many what they show is known."""
    counts = ", ".join(f"{len(found.rows):,} {found.split.name}" for found in surveys)
    left_out = sum(len(found.broken) for found in surveys)
    labels = table["label"].to_numpy()
    unlabelled, classes = int((labels < 0).sum()), len(np.unique(labels[labels >= 0]))
    told = [f"{counts} images, {'packed' if pack else 'streamed'}"]
    told += [f"{left_out:,} left out"] * bool(left_out) + [f"{classes:,} classes"] * bool(classes)
    return ", ".join(told + [f"{unlabelled:,} without a label"] * bool(unlabelled))


def _packed_size(surveys: list[Survey], data: Data) -> tuple[int, int] | None:
    """Width and height at which all images are held decoded; None where they are not: their sizes
    differ, or they do not fit `data.pack_gib`."""
    sizes = set().union(*(found.sizes for found in surveys))
    if data.resize is not None:
        sizes = {(data.resize, data.resize)}
    if len(sizes) > 1:
        return None
    ((width, height),) = sizes
    needed = sum(len(found.rows) for found in surveys) * width * height * 3 / 2**30
    if needed <= data.pack_gib:
        return width, height
    if data.resize is not None:
        raise ParamError(
            *("params.yaml", "data.resize"),
            f"{data.resize}: squares of all images take {needed:.1f} GiB, and data.pack_gib is "
            f"{data.pack_gib}: raise that, lower this, or set it to null to decode images anew for "
            "each view",
        )
    return None


def _write_images(
    path: Path, surveys: list[Survey], size: tuple[int, int] | None, resize: int | None
) -> None:
    """images.npy: (N, H, W, 3) pixels, (bytes,) of encoded images, or empty for folders."""
    if size is not None:
        width, height = size
        shape: tuple[int, ...] = (sum(len(f.rows) for f in surveys), height, width, 3)
        blocks: Iterable[np.ndarray] = (b for found in surveys for b in decoded(found, resize))
    elif surveys[0].split.encoded is not None:
        shape = (sum(int(found.lengths.sum()) for found in surveys),)
        blocks = (np.frombuffer(b, np.uint8) for found in surveys for b in found.contents())
    else:
        shape, blocks = (0,), ()
    _write_npy(path, shape, blocks)


def _write_npy(path: Path, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> None:
    """A uint8 array, block after block. Not memory-mapped: a full disk would kill the process."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with artifacts.atomic(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for block in blocks:
            stream.write(np.ascontiguousarray(block).data)


def _manifest(surveys: list[Survey], pack: bool) -> pa.Table:
    encoded = not pack and surveys[0].split.encoded is not None
    lengths = np.concatenate([found.lengths for found in surveys])
    total = len(lengths)
    offsets = np.cumsum(lengths) - lengths

    def column(values: Iterator[list], wanted: bool) -> pa.Array:
        flat = [v for part in values for v in part]
        return pa.array(flat if wanted else [None] * total, pa.string())

    folders = not pack and not encoded
    return pa.table(
        {
            "id": np.arange(total),
            "split": [found.split.name for found in surveys for _ in found.rows],
            "label": np.concatenate([f.split.labels[f.rows] for f in surveys]).astype(np.int32),
            "path": column((f.paths() for f in surveys), folders),
            "offset": offsets if encoded else np.full(total, -1),
            "length": lengths if encoded else np.full(total, -1),
            "digest": column((f.digests for f in surveys), folders),
        },
        schema=artifacts.MANIFEST,
    )


@command
@params_option
def main(params_file: Path) -> None:
    """Read data.name from SEPP_DATA_ROOT, check every image, write manifest and packed images.

    Writes data/manifest.parquet (id, split, label, where) and data/images.npy.
    """
    inputs, outputs = Inputs(), Outputs()
    current = partial(Params.load, params_file)
    reading = unedited("stages.prepare", current, vars(inputs).values())
    with measured(outputs.cost) as cost, reading:
        cost.images = run(Params.load(params_file), inputs, outputs)


if __name__ == "__main__":
    main()
