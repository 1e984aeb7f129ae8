"""Artefacts appear whole or not at all, and are checked when they are read."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.common import artifacts
from stages.common.errors import ArtifactError
from tests.conftest import REPOSITORY

TABLE = pa.table(
    {"anchor": [0, 1], "positive": [2, 3], "similarity": pa.array([0.5, 0.25], pa.float32())},
    schema=artifacts.PAIRS,
)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_file_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "new/a.txt"
    with artifacts.atomic(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert tree(tmp_path) == {"new", "new/a.txt"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with artifacts.atomic(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert tree(tmp_path) == {"a.txt"}


def test_a_folder_replaces_a_folder(tmp_path):
    path = tmp_path / "model"
    for name in ("one", "two"):
        with artifacts.atomic(path) as partial:
            partial.mkdir()
            (partial / name).write_text(name)
    assert tree(tmp_path) == {"model", "model/two"}


def test_a_failed_block_leaves_the_old_folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("old")

    def write() -> None:
        with artifacts.atomic(path) as partial:
            partial.mkdir()
            (partial / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert tree(tmp_path) == {"model", "model/old"}


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_process_left_is_no_obstacle(tmp_path, folder):
    path = tmp_path / "a"
    with artifacts.atomic(path) as partial:
        partial.write_text("a")
    left = partial / "half" if folder else partial
    left.parent.mkdir(exist_ok=True)
    left.write_text("half")
    with artifacts.atomic(path) as partial:
        assert not partial.exists()
        partial.write_text("b")
    assert tree(tmp_path) == {"a"}
    assert path.read_text() == "b"


def test_what_other_processes_left_goes_and_what_they_write_stays(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = platform.node()
    gone = [f".a.{here}-{dead.pid}.partial"]
    kept = [f".a.{here}-1.partial", f".a.elsewhere-{dead.pid}.partial"]
    kept += [f".a.json.{here}-{dead.pid}.partial"]  # of another file
    for name in gone + kept:
        (tmp_path / name).mkdir()
    with artifacts.atomic(tmp_path / "a") as partial:
        partial.write_text("a")
    assert tree(tmp_path) == {"a", *kept}


def test_a_file_does_not_replace_a_folder(tmp_path):
    (tmp_path / "a/inner").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as error:
        artifacts.write_json(tmp_path / "a", {})
    assert error.value.filename == str(tmp_path / "a")
    assert tree(tmp_path) == {"a", "a/inner"}


@pytest.mark.parametrize("named", [False, True])
def test_the_error_names_the_file_that_the_user_knows(tmp_path, named):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="full") as error, artifacts.atomic(path) as partial:
        raise OSError(errno.ENOSPC, "full", *([str(partial)] if named else []))
    assert error.value.filename == str(path)


def test_the_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as error, artifacts.atomic(tmp_path / "a.txt"):
        (tmp_path / "input").read_text()
    assert error.value.filename == str(tmp_path / "input")


def test_remove(tmp_path):
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    for name in ("folder", "file", "nothing"):
        artifacts.remove(tmp_path / name)
    assert tree(tmp_path) == set()


def test_parquet_and_its_metadata(tmp_path):
    path = tmp_path / "pairs.parquet"
    about = {"min": 0.1, "count": 3, "names": ["é", None], "nothing": None}
    artifacts.write_parquet(path, TABLE, artifacts.PAIRS, about)
    table = artifacts.read_parquet(path, artifacts.PAIRS, "mine")
    assert table.equals(TABLE)
    assert artifacts.metadata(table) == artifacts.metadata(table.schema) == about
    first = path.read_bytes()
    artifacts.write_parquet(path, TABLE, artifacts.PAIRS, about)
    assert path.read_bytes() == first


def test_no_metadata(tmp_path):
    artifacts.write_parquet(tmp_path / "a", TABLE, artifacts.PAIRS)
    assert artifacts.metadata(artifacts.read_parquet(tmp_path / "a", artifacts.PAIRS, "mine")) == {}
    assert artifacts.metadata(TABLE) == {}


def test_written_in_pieces_it_is_the_same_table(tmp_path):
    with artifacts.parquet_writer(tmp_path / "a", artifacts.PAIRS) as writer:
        writer.write_table(TABLE.slice(0, 1))
        writer.write_table(TABLE.slice(1))
    assert artifacts.read_parquet(tmp_path / "a", artifacts.PAIRS, "mine").equals(TABLE)


@pytest.mark.parametrize(
    "other",
    [
        TABLE.drop_columns("similarity"),
        TABLE.rename_columns(["anchor", "negative", "similarity"]),
        TABLE.set_column(0, "anchor", TABLE["anchor"].cast(pa.int32())),
    ],
    ids=["missing", "renamed", "type"],
)
def test_other_columns(tmp_path, other):
    path = tmp_path / "pairs.parquet"
    pq.write_table(other, path)
    with pytest.raises(ArtifactError) as error:
        artifacts.read_parquet(path, artifacts.PAIRS, "mine")
    text = str(error.value)
    assert text.startswith(f"{path}: has other columns than expected (anchor: int")
    assert text.endswith("run `dvc repro mine` to make it again")
    assert "\n" not in text


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet " * 9])
def test_not_parquet(tmp_path, content):
    path = tmp_path / "pairs.parquet"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as error:
        artifacts.read_parquet(path, artifacts.PAIRS, "mine")
    text = str(error.value)
    assert text.startswith(f"{path}: is not a Parquet file (")
    assert text.endswith("run `dvc repro mine` to make it again")
    assert "\n" not in text


def test_missing(tmp_path):
    path = tmp_path / "a"
    said = f"^{path}: is missing; run `dvc repro mine` to make it again$"
    with pytest.raises(ArtifactError, match=said):
        artifacts.read_parquet(path, artifacts.PAIRS, "mine")
    with pytest.raises(ArtifactError, match=said):
        artifacts.read_json(path, "mine")


def test_json(tmp_path):
    path = tmp_path / "a.json"
    artifacts.write_json(path, {"accuracy": None, "name": "é"})
    assert artifacts.read_json(path, "mine") == {"accuracy": None, "name": "é"}
    path.write_text('{"accuracy": ')
    with pytest.raises(ArtifactError, match=r"is not JSON .* run `dvc repro mine`"):
        artifacts.read_json(path, "mine")


def test_csv(tmp_path):
    path = tmp_path / "a.csv"
    artifacts.write_csv(path, [{"x": 0.1 + 0.2, "y": None}, {"x": 1, "y": "b"}])
    assert path.read_text() == "x,y\n0.30000000000000004,\n1,b\n"


def test_history(tmp_path):
    path = tmp_path / "a.csv"
    artifacts.write_history(path, [])
    assert path.read_text() == "epoch,loss,embedding_std,lr\n"
    artifacts.write_history(path, [{"lr": 0.5, "epoch": 1, "embedding_std": 1.0, "loss": 2.5}])
    assert path.read_text() == "epoch,loss,embedding_std,lr\n1,2.5,1.0,0.5\n"


def test_history_has_columns_for_the_shares_that_are_known(tmp_path):
    path = tmp_path / "a.csv"
    row = {"epoch": 1, "loss": 2.5, "embedding_std": 1.0, "lr": 0.5, "pair_accuracy": None}
    artifacts.write_history(path, [{**row, "neighbour_accuracy": n} for n in (None, 0.25)])
    header, *lines = path.read_text().splitlines()
    assert header == "epoch,loss,embedding_std,lr,neighbour_accuracy"
    assert [line.split(",")[-1] for line in lines] == ["", "0.25"]


# A file may grow to 64 KiB; then the write fails as on a full disk, but for EFBIG in errno.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from stages.common import artifacts
from stages.common.command import command

def parquet(path):
    rows = 100_000
    noise = np.random.default_rng(0).integers(0, 2**60, (2, rows))
    columns = [*noise, np.ones(rows, np.float32)]
    table = pa.table(columns, schema=artifacts.PAIRS)
    artifacts.write_parquet(path, table, artifacts.PAIRS)

def json(path):
    artifacts.write_json(path, ["x" * 100] * 1000)

def encoder(path):
    from stages.ssl.encoder import Encoder, EncoderConfig
    config = EncoderConfig("resnet10", "cifar", 8, (0.5,) * 3, (0.25,) * 3)
    Encoder(config).save(path)

@command
def main():
    write = globals()[sys.argv[1]]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
    write(Path(sys.argv[2]))

main([])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("kind", ["parquet", "json", "encoder"])
def test_a_full_disk(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}

    def fill() -> None:
        done = subprocess.run(
            [sys.executable, "-c", FULL_DISK, kind, str(path)],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.stderr == (
            f"Error: {path}: no space left on the device; nothing half-written was kept: "
            "free some space and run again\n"
        )
        assert done.returncode == 1

    if kind != "encoder":  # which takes seconds to load torch; folders are tested above
        fill()
        assert tree(tmp_path) == set()
    old = path / "old" if kind == "encoder" else path
    old.parent.mkdir(exist_ok=True)
    old.write_text("old")
    fill()
    assert tree(tmp_path) == {str(p.relative_to(tmp_path)) for p in {path, old}}
    assert old.read_text() == "old"
