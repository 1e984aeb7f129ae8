"""The listing of an external data set changes with its files, and with nothing else."""

from __future__ import annotations

import builtins
import io
import json
import os
from pathlib import Path

import pytest

from stages import source
from stages.common.errors import DataError
from stages.common.sections import BUNDLED
from tests.conftest import write_params


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "images"
    (root / "train/cat").mkdir(parents=True)
    for i in range(3):
        (root / f"train/cat/{i}.png").write_bytes(b"x" * (i + 1))
    monkeypatch.setenv("SEPP_DATA_ROOT", str(root))
    return root


def listed(tmp_path: Path, name: str = "imagefolder") -> dict:
    watch = [] if name in BUNDLED else [name]
    file = write_params(tmp_path / "params.yaml", {"data.name": name, "data.watch": watch})
    target = tmp_path / "source.json"
    source.run(source.Params.load(file), source.Outputs(target))
    return json.loads(target.read_text())


def test_counts_and_name(root: Path, tmp_path: Path):
    found = listed(tmp_path)
    assert (found["name"], found["files"], found["bytes"]) == ("imagefolder", 3, 6)
    assert listed(tmp_path) == found


def test_a_changed_added_or_renamed_file_is_noticed(root: Path, tmp_path: Path):
    digests = [listed(tmp_path)["digest"]]
    image = root / "train/cat/0.png"
    os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))  # edited without a change of size
    digests.append(listed(tmp_path)["digest"])
    image.rename(root / "train/cat/9.png")
    digests.append(listed(tmp_path)["digest"])
    (root / "train/dog").mkdir()
    (root / "train/dog/0.png").write_bytes(b"x")
    digests.append(listed(tmp_path)["digest"])
    assert len(set(digests)) == 4


def test_hidden_files_and_the_place_of_the_root_do_not_matter(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = listed(tmp_path)
    (root / ".cache").mkdir()
    (root / ".cache/x").write_bytes(b"x")
    (root / "train/.DS_Store").write_bytes(b"x")
    assert listed(tmp_path) == before
    moved = root.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("SEPP_DATA_ROOT", str(moved))
    assert listed(tmp_path) == before


def test_a_missing_root_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEPP_DATA_ROOT", str(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"absent.*SEPP_DATA_ROOT"):
        listed(tmp_path)


def test_the_committed_listing_is_that_of_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEPP_DATA_ROOT", str(tmp_path / "absent"))
    expected = {"name": "digits", "files": 0, "bytes": 0, "digest": ""}
    assert listed(tmp_path, "digits") == expected


def test_a_removed_or_resized_file_is_noticed(root: Path, tmp_path: Path):
    before = listed(tmp_path)
    image = root / "train/cat/0.png"
    status = image.stat()
    image.write_bytes(b"xx")
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))  # its size alone has changed
    resized = listed(tmp_path)
    assert resized["bytes"] == before["bytes"] + 1
    image.unlink()
    removed = listed(tmp_path)
    assert removed["files"] == before["files"] - 1
    assert len({before["digest"], resized["digest"], removed["digest"]}) == 3


def test_no_file_is_opened(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def watch(name: str, original):
        def opened(file, *arguments, **options):
            assert not str(file).startswith(str(root)), f"{name} of {file}"
            return original(file, *arguments, **options)

        return opened

    for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
        monkeypatch.setattr(module, name, watch(name, getattr(module, name)))
    with pytest.raises(AssertionError):  # the watch works
        (root / "train/cat/0.png").read_bytes()
    assert listed(tmp_path)["files"] == 3


def test_linked_files_count_and_a_link_to_nowhere_is_listed(root: Path, tmp_path: Path):
    before = listed(tmp_path)
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"12345")
    (root / "train/cat/9.png").symlink_to(outside)
    linked = listed(tmp_path)
    assert linked["bytes"] == before["bytes"] + 5
    outside.unlink()
    dangling = listed(tmp_path)
    assert dangling["files"] == 4
    assert len({before["digest"], linked["digest"], dangling["digest"]}) == 3


def test_links_in_a_circle_are_left_and_others_followed(root: Path, tmp_path: Path):
    (root / "train/again").symlink_to(root)
    assert listed(tmp_path)["files"] == 3
    (root / "train/dog").symlink_to(root / "train/cat")
    before = listed(tmp_path)
    assert before["files"] == 6
    (root / "train/dog").rename(root / "train/fox")
    assert listed(tmp_path)["digest"] != before["digest"]
