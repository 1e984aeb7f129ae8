"""Other data sets that features are transferred to: `transfer.datasets`. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import uuid4

from filelock import FileLock
from pydantic import Field, field_validator, model_validator

from stages import prepare
from stages.common import artifacts, env, listing
from stages.common.errors import DataError, ParamError
from stages.common.images import ImageStore
from stages.common.locks import used
from stages.common.plugins import choice, plugins
from stages.common.sections import BUNDLED, Count, Data, Section
from stages.common.state import run_fingerprint
from stages.evaluation._outside import PREPARED
from stages.evaluation._split import why_not

# Sets whose accuracy is usually the mean over classes (Kornblith et al. 2019, table 1).
BY_CLASS = ("aircraft", "caltech101", "flowers", "pets")
MANIFEST, IMAGES = "manifest.parquet", "images.npy"
PACK_GIB = 4.0  # equal-sized images up to this total are held decoded


class Source(Section):
    """A data set. A plain text is its name, which is then a bundled set's."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]  # as the report calls it
    reader: str  # a file of stages/datasets; where left out, the name
    root: str | None = None  # its folder; of a bundled set null
    metric: Literal["top1", "mean_per_class"]  # where left out, as is usual for a set of this name
    skip_broken: bool = False  # leave out images that do not decode; else stop
    limit: Count | None = None  # train on so many images, drawn at random; null: all

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, values: Any) -> Any:
        values = {"name": values} if isinstance(values, str) else values
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            return values
        by_class = any(known in values["name"] for known in BY_CLASS)
        metric = "mean_per_class" if by_class else "top1"
        return {"reader": values["name"], "metric": metric, **values}

    @field_validator("reader")
    @classmethod
    def _known(cls, reader: str) -> str:
        return choice("data set", plugins("datasets"), reader)

    @model_validator(mode="after")
    def _somewhere(self) -> Source:
        if (self.root is None) != (self.reader in BUNDLED):
            remedy = "leave it out" if self.root else "give the folder of its files"
            raise ValueError(f"root of {self.name} ({self.reader}) is {self.root}: {remedy}")
        return self


@contextmanager
def prepared(source: Source) -> Iterator[ImageStore]:
    """The set's images, prepared as the stage prepare does, once for all arms and seeds: below the
    state directory, until the set, its files or our code change.

    Raises:
        DataError: the files are not there or not fit, or there are no test images or labels.
    """
    root = env.in_repository(source.root or ".")
    folder = env.state_dir() / PREPARED / f"{source.name}-{_digest(source, root)}"
    with FileLock(f"{folder}.lock"):  # of several processes one prepares
        if not folder.is_dir():
            _forget_others(source, folder)
            with artifacts.atomic(folder) as partial:
                outputs = prepare.Outputs(partial / MANIFEST, partial / IMAGES)
                # Beside the folder, which goes where it is not whole.
                _prepare(source, root, outputs, folder.with_name(f"{source.name}-unread.csv"))
        user = FileLock(folder / f"{uuid4().hex}.lock")
        user.acquire()
    try:
        store = ImageStore(folder / MANIFEST, folder / IMAGES, root)
        if missing := why_not(store, remedy=""):
            raise DataError(
                f"transfer.datasets: {source.name}: {missing}; it needs images with labels for both"
            )
        yield store
    finally:
        user.release()
        artifacts.remove(Path(user.lock_file))


def left_out(store: ImageStore) -> int:
    """How many images of a prepared set there are that do not decode."""
    file = artifacts.open_parquet(store.images.with_name(MANIFEST), artifacts.MANIFEST, "prepare")
    return artifacts.metadata(file.schema_arrow)["left_out"]


def _digest(source: Source, root: Path) -> str:
    """Of all that decides what is prepared."""
    outside = source.root and root.is_dir()  # a bundled set is the same in every checkout
    files = [str(root), listing.describe(root)] if outside else None
    modules = ["stages.evaluation._sources", f"stages.datasets.{source.reader}"]
    return run_fingerprint(modules, [source.model_dump(exclude={"metric"}), files], [])[:24]


def _forget_others(source: Source, folder: Path) -> None:
    """What was prepared under this name before, unless a process uses it."""
    for other in folder.parent.glob(f"{source.name}-{'[0-9a-f]' * 24}"):
        if other != folder and not used(other):
            artifacts.remove(other)


def _prepare(source: Source, root: Path, outputs: prepare.Outputs, unread: Path) -> None:
    data = Data(
        name=source.reader,
        watch=[] if source.reader in BUNDLED else [source.reader],
        limit=source.limit,
        split=None,
        resize=None,
        unlabelled=True,  # which `read` says in its own words
        skip_broken=source.skip_broken,
        pack_gib=PACK_GIB,
    )
    try:
        prepare.make(prepare.Params.model_construct(seed=0, data=data), root, outputs, unread)
    except (DataError, ParamError) as error:  # whose remedies are those of the section data
        told = str(error).replace("SEPP_DATA_ROOT", "root").replace("data.skip", "skip")
        told = told.removeprefix("params.yaml: data.")
        raise DataError(f"transfer.datasets: {source.name}: {told}") from None
