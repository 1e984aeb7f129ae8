"""The files that stages hand to each other: their schemas, and how they are written and read.

Every artefact is a pure function of its inputs, byte for byte: no timestamps, stable row order.
A file appears under its final name only once it is whole.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stages.common.errors import ArtifactError, SeppError

KINDS = ("instance", "semantic", "duplicate", "random", "oracle")

# One row an image, all splits, ids 0…N-1 in row order. An image is found in one of three ways:
# packed (images.npy is (N, H, W, 3) and its row is the id), encoded (images.npy is one run of
# bytes; offset and length say where), or a file below the data root (path).
MANIFEST = pa.schema(
    [
        ("id", pa.int64()),
        ("split", pa.string()),  # train | labelled (linear classifier, where not train) | test
        ("label", pa.int32()),  # class number, -1 = none
        ("path", pa.string()),  # below the data root; null unless the image is a file of its own
        ("offset", pa.int64()),  # bytes, -1 unless encoded
        ("length", pa.int64()),  # bytes, -1 unless encoded
        ("digest", pa.string()),  # of the file's content, so that an edited image is noticed
    ]
)
PAIRS = pa.schema([("anchor", pa.int64()), ("positive", pa.int64()), ("similarity", pa.float32())])
COMBINED = pa.schema(
    [
        ("anchor", pa.int64()),
        ("positive", pa.int64()),
        ("weight", pa.float32()),
        ("kind", pa.dictionary(pa.int8(), pa.string())),
    ]
)


def embeddings_schema(dim: int) -> pa.Schema:
    """(K,) ids and (K, dim) L2-normalised float32 embeddings."""
    return pa.schema([("id", pa.int64()), ("embedding", pa.list_(pa.float32(), dim))])


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place only if the block succeeds.

    Works for a file or, when the block makes one, a folder (which replaces an old one). What a
    killed process left of its own is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    here = f"{platform.node()}-{os.getpid()}"
    partial = path.with_name(f".{path.name}.{here}.partial")
    _remove_left(path)
    remove(partial)
    try:
        yield partial
        if path.is_dir() and partial.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    except OSError as error:
        if error.filename is None or str(partial) in str(error.filename):
            error.filename = str(path)  # the name that the user knows
        raise
    finally:
        remove(partial)


def _remove_left(path: Path) -> None:
    """What processes of this machine that are no more have left of theirs."""
    name = re.compile(rf"\.{re.escape(f'{path.name}.{platform.node()}')}-(\d+)\.partial")
    for file in path.parent.glob(".*.partial"):
        if (left := name.fullmatch(file.name)) and not _is_alive(int(left[1])):
            with suppress(OSError):  # another process may be at it, too
                remove(file)


def _is_alive(pid: int) -> bool:
    """Whether a process of this number runs; elsewhere than on POSIX it may."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds; nothing there is fine."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def named_output(path: Path, option: str | None = None) -> Iterator[None]:
    """For a file that a user names, by `option`: raises SeppError where it cannot be there."""
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        remedy = f"name another file{f' with {option}' if option else ''}"
        raise SeppError(f"{path}: cannot be written ({error.strerror}); {remedy}") from None


@contextmanager
def parquet_writer(
    path: Path, schema: pa.Schema, metadata: dict[str, object] | None = None
) -> Iterator[pq.ParquetWriter]:
    """Write `path` in pieces; `metadata` values are stored as JSON in the file's schema."""
    stored = {key: json.dumps(value, sort_keys=True) for key, value in (metadata or {}).items()}
    schema = schema.with_metadata(stored) if stored else schema
    with atomic(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        yield writer


def write_parquet(
    path: Path, table: pa.Table, schema: pa.Schema, metadata: dict[str, object] | None = None
) -> None:
    with parquet_writer(path, schema, metadata) as writer:
        writer.write_table(
            table.cast(writer.schema).replace_schema_metadata(writer.schema.metadata)
        )


def open_parquet(path: Path, schema: pa.Schema | None, stage: str) -> pq.ParquetFile:
    """Open an artefact of `stage` and check its columns against `schema` (names and types).

    Raises ArtifactError when it is missing, unreadable or of another shape.
    """
    try:
        file = pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError:
        raise ArtifactError(path, "is missing", stage) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(path, f"is not a Parquet file ({error})", stage) from None
    if schema is not None and not file.schema_arrow.equals(schema, check_metadata=False):
        found = ", ".join(f"{field.name}: {field.type}" for field in file.schema_arrow)
        raise ArtifactError(path, f"has other columns than expected ({found})", stage)
    return file


def read_parquet(path: Path, schema: pa.Schema, stage: str) -> pa.Table:
    return open_parquet(path, schema, stage).read()


def metadata(table: pa.Table | pa.Schema) -> dict[str, object]:
    """What `parquet_writer` stored, decoded."""
    schema = table.schema if isinstance(table, pa.Table) else table
    stored = schema.metadata or {}
    return {
        key.decode(): json.loads(value)
        for key, value in stored.items()
        if not key.startswith((b"ARROW:", b"pandas"))
    }


def write_json(path: Path, value: object) -> None:
    with atomic(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, stage: str) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ArtifactError(path, "is missing", stage) from None
    except ValueError as error:
        raise ArtifactError(path, f"is not JSON ({error})", stage) from None


def write_csv(
    path: Path, rows: list[dict[str, object]], columns: tuple[str, ...] | None = None
) -> None:
    """Rows of equal keys as CSV; floats in full, None as an empty cell.

    `columns` names the header where there may be no row to take it from.
    """
    header = columns or tuple(rows[0])
    lines = [header, *(tuple(row[name] for name in header) for row in rows)]
    with atomic(path) as partial:
        text = [",".join("" if v is None else str(v) for v in line) for line in lines]
        partial.write_text("\n".join(text) + "\n")


def write_history(path: Path, history: list[dict[str, float | None]]) -> None:
    """A training curve, a row per epoch; header alone for an encoder that was not trained here.

    Shares of equal labels (`neighbour_accuracy`, `pair_accuracy`) have a column where some epoch
    has a value.
    """
    shares = ("neighbour_accuracy", "pair_accuracy")
    known = tuple(name for name in shares if any(row.get(name) is not None for row in history))
    write_csv(path, history, ("epoch", "loss", "embedding_std", "lr", *known))
