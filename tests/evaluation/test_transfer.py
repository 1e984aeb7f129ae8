"""Transfer to other sets: which are named how, how accuracy counts, and what the numbers are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from stages.commands import clean_state
from stages.common.errors import DataError, ParamError
from stages.common.images import ImageStore
from stages.common.param_file import validate
from stages.common.state import TrainingState
from stages.evaluation import _logistic, _sources, transfer
from stages.evaluation._logistic import STRENGTHS
from stages.evaluation._outside import PREPARED, describe
from stages.evaluation._sources import Source
from stages.evaluation.transfer import Params, accuracy, evaluate, metrics

MANIFEST, IMAGES = Path("data/manifest.parquet"), Path("data/images.npy")
SHORT = {"finetune": False, "iterations": 20}


def measure(encoder, settings: Params, seed: int = 0) -> dict:
    with TrainingState("evaluate", lambda: "x") as state:
        result = evaluate(encoder, ImageStore(MANIFEST, IMAGES), settings, seed, state)
        state.clear()
    return result


def write_folders(root: Path, splits: dict[str, int], classes: str = "ab") -> Path:
    """PNG files of 10 x 8 pixels whose colour is their class, that of `a` much rarer."""
    rng = np.random.default_rng(0)
    for split, count in splits.items():
        for label in classes:
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(count if label == "b" else max(1, count // 3)):
                pixels = rng.integers(0, 80, (8, 10, 3), dtype=np.uint8)
                pixels[..., ord(label) - ord("a")] += 150
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def test_accuracy_by_hand():
    labels = np.array([0, 0, 0, 0, 0, 0, 2, 2])
    guesses = np.array([0, 0, 0, 0, 0, 1, 2, 0])
    assert accuracy(guesses, labels, "top1") == pytest.approx(75)
    assert accuracy(guesses, labels, "mean_per_class") == pytest.approx(100 * (5 / 6 + 1 / 2) / 2)


def test_sets_by_name_and_by_root():
    sets = [
        "digits",
        {"name": "pets", "reader": "imagefolder", "root": "~/pets"},
        {"name": "flowers102", "reader": "parquet", "root": "/f", "metric": "top1"},
        {"name": "parquet", "root": "/p"},
        {"name": "oxford_pets", "reader": "imagefolder", "root": "/o", "limit": 50},
    ]
    found = Params(datasets=sets)
    told = [(one.name, one.reader, one.root, one.metric) for one in found.datasets]
    assert told == [
        ("digits", "digits", None, "top1"),
        ("pets", "imagefolder", "~/pets", "mean_per_class"),
        ("flowers102", "parquet", "/f", "top1"),
        ("parquet", "parquet", "/p", "top1"),
        ("oxford_pets", "imagefolder", "/o", "mean_per_class"),
    ]
    assert [one.limit for one in found.datasets] == [None, None, None, None, 50]
    assert list(metrics(found).items())[2:4] == [
        ("pets_linear", "pets, linear, mean per class"),
        ("pets_finetuned", "pets, finetuned, mean per class"),
    ]


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["digitz"], "datasets.0.reader: unknown data set 'digitz'; there are characters, "),
        (["imagefolder"], "datasets.0: root of imagefolder (imagefolder) is None: give the folder"),
        ([{"name": "digits", "root": "/x"}], "datasets.0: root of digits (digits) is /x: leave it"),
        (["digits", "digits"], "datasets: names ['digits', 'digits']: one is used twice"),
        ([{"name": "digits", "metric": "top5"}], "datasets.0.metric: 'top5': "),
        ([{"name": "digits", "roots": "/x"}], "datasets.0.roots: is not a parameter"),
        ([3], "datasets.0: 3: should be a block of parameters"),
        ([{"reader": "digits"}], "datasets.0.name: is missing"),
    ],
)
def test_mistakes(sets, said):
    with pytest.raises(ParamError) as error:
        validate(Path("evaluations.yaml"), Params, {"datasets": sets}, transfer.SECTION)
    assert str(error.value).startswith(f"evaluations.yaml: transfer.{said}")
    assert "\n" not in str(error.value)


def test_digits_are_told_apart_by_a_random_encoder(encoder, monkeypatch):
    monkeypatch.setattr(_logistic, "STRENGTHS", STRENGTHS[8::9])
    result = measure(encoder, Params(datasets=["digits"], **SHORT))
    assert result["digits_linear"] > 60  # 10 by chance
    assert result["digits_test_images"] == 360
    assert result["digits_regularisation"] in STRENGTHS[8::9]
    assert "digits_finetuned" not in result


def test_a_regression_that_did_not_converge_is_told(encoder, caplog, monkeypatch):
    monkeypatch.setattr(_logistic, "STRENGTHS", np.array([1e-3]))
    short = Params(datasets=["digits"], finetune=False, iterations=2, milestones=[99])
    measure(encoder, short)
    (told,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == (
        "digits: the regression with the chosen penalty, 0.001, had not converged after "
        "transfer.iterations 2: raise them"
    )
    caplog.clear()
    measure(encoder, short.model_copy(update={"iterations": 5000}))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_folder_frozen_and_fine_tuned(encoder, tmp_path, caplog):
    root = write_folders(tmp_path / "pets", {"train": 12, "test": 6})
    pets = {"name": "pets", "reader": "imagefolder", "root": str(root)}
    short = {"epochs": 4, "milestones": [3], "batch_size": 8, "lr": 0.01, "head_lr": 0.1}
    settings = Params(datasets=[pets], iterations=20, **short)
    result = measure(encoder, settings)
    assert result["pets_linear"] == 100
    assert result["pets_finetuned"] > 50
    assert measure(encoder, settings) == result


def test_images_that_do_not_fit_are_streamed(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(_sources, "PACK_GIB", 1e-9)
    monkeypatch.setenv("SEPP_WORKERS", "0")
    root = write_folders(tmp_path / "pets", {"train": 12, "val": 6})
    pets = {"name": "pets", "reader": "imagefolder", "root": str(root)}
    settings = Params(datasets=[pets], iterations=20, epochs=1, milestones=[], batch_size=8)
    assert measure(encoder, settings)["pets_linear"] == 100


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "train/a/x.png").write_text("x"), "skip_broken: true to leave"),
        (lambda root: (root / "test").rename(root / "other"), "no test split; it needs images"),
        (lambda root: (root / "train").rename(root / "training"), "holds test/, but no train/"),
        (lambda root: root.rename(root.with_name("gone")), "set root to the folder"),
    ],
)
def test_unfit_sets_are_named(encoder, tmp_path, spoil, said):
    root = write_folders(tmp_path / "pets", {"train": 4, "test": 2})
    spoil(root)
    pets = {"name": "pets", "reader": "imagefolder", "root": str(root)}
    with pytest.raises(DataError) as error:
        measure(encoder, Params(datasets=[pets], **SHORT))
    assert str(error.value).startswith("transfer.datasets: pets: ")
    assert said in str(error.value)
    assert "data.skip" not in str(error.value)
    assert "SEPP_DATA_ROOT" not in str(error.value)


def test_without_sets_it_says_so(encoder):
    assert "names no data set" in measure(encoder, Params())["skipped"]


def folder_set(root: Path, **more: object) -> Source:
    return Source(name="pets", reader="imagefolder", root=str(root), **more)


def kept(project: Path) -> list[Path]:
    """Sets that are prepared in the state directory."""
    return sorted(p for p in (project / ".state" / PREPARED).iterdir() if p.is_dir())


def test_a_set_is_prepared_once_until_it_changes(project, encoder, tmp_path, monkeypatch):
    root, made = write_folders(tmp_path / "pets", {"train": 12, "test": 6}), []
    prepare = _sources._prepare
    monkeypatch.setattr(_sources, "_prepare", lambda *given: made.append(1) or prepare(*given))
    settings = Params(datasets=[folder_set(root)], **SHORT)
    first = measure(encoder, settings)
    assert [measure(encoder, settings, seed)["pets_linear"] for seed in (0, 1)] == [100, 100]
    assert (len(made), len(kept(project))) == (1, 1)
    assert not list(kept(project)[0].glob("*.lock"))
    for path in root.glob("test/b/*.png"):
        (root / "test/a" / f"moved{path.name}").write_bytes(path.read_bytes())
    (before,) = kept(project)
    assert measure(encoder, settings)["pets_linear"] < first["pets_linear"]
    (after,) = kept(project)  # the one before is of no more use
    assert after != before
    assert len(made) == 2


def test_a_set_in_use_stays(project, tmp_path):
    root = write_folders(tmp_path / "pets", {"train": 12, "test": 6})
    with _sources.prepared(folder_set(root)) as whole:
        with _sources.prepared(folder_set(root, limit=13)) as part:
            assert (len(whole.select("train")), len(part.select("train"))) == (16, 13)
        assert len(kept(project)) == 2
        result = CliRunner().invoke(clean_state.main)
        assert result.output.splitlines()[1:] == [
            "removed 1 data set(s) that were prepared for evaluations"
        ]
        assert kept(project) == [whole.images.parent]
        assert clean_state.unfinished() == []
    CliRunner().invoke(clean_state.main)
    assert kept(project) == []


def test_images_that_are_left_out_are_counted(encoder, tmp_path):
    root = write_folders(tmp_path / "pets", {"train": 12, "test": 6})
    settings = Params(datasets=[folder_set(root, skip_broken=True)], **SHORT)
    assert "pets_left_out" not in measure(encoder, settings)
    for name in ("train/a/x.png", "test/b/y.png"):
        (root / name).write_text("x")
    result = measure(encoder, settings)
    assert (result["pets_left_out"], result["pets_test_images"]) == (2, 8)


def test_a_limit_above_the_images_is_named(project, tmp_path):
    root = write_folders(tmp_path / "pets", {"train": 12, "test": 6})
    said = r"^transfer.datasets: pets: limit: 50 is above the 16 training images$"
    with pytest.raises(DataError, match=said), _sources.prepared(folder_set(root, limit=50)):
        pass


def test_changed_files_of_a_root_are_noticed(tmp_path, monkeypatch):
    """However deep in the block, and whatever lies elsewhere."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_folders(tmp_path / "pets", {"train": 2})
    block = {"datasets": ["digits", {"name": "pets", "root": "pets"}], "more": {"root": None}}
    before = describe("transfer", block)
    assert before["roots"]["pets"]["files"] == 3
    assert describe("transfer", block) == before
    (tmp_path / "pets/train/a/new.png").write_bytes(b"x")
    assert describe("transfer", block) != before
    (tmp_path / "pets").rename(tmp_path / "cats")
    with pytest.raises(DataError, match=r"no such folder, which transfer in evaluations.yaml has"):
        describe("transfer", block)
    assert describe("transfer", {}) == {"name": "transfer", "roots": {}}
