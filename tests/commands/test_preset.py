"""`sepp preset` for images that no preset knows: `auto`, and the others with --data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from stages.commands.preset import main
from stages.common import env
from stages.common.params import load_all
from stages.common.plugins import plugins
from stages.common.sections import BUNDLED
from stages.recipe import auto
from stages.recipe.files import files
from stages.recipe.other import misfit
from stages.recipe.plan import Costs
from stages.recipe.text import PRESETS, preset, values_of
from tests.datasets import samples

NAMES = sorted(f.stem for f in PRESETS.glob("*.yaml"))
PARAMS = Path("params.yaml")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, outside git, with the root of the images in it."""
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in env.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEPP_ACCELERATOR", "cpu")
    monkeypatch.setenv("SEPP_DATA_ROOT", str(tmp_path / "raw"))
    return tmp_path


def photographs(root: Path, each: int = 40, edge: int = 70) -> None:
    """Of two classes and differing sizes."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (root / "train" / name).mkdir(parents=True)
        for i in range(each):
            size = (edge + i % 3, edge, 3)
            values = rng.integers(120 * label, 120 * label + 130, size, dtype=np.uint8)
            Image.fromarray(values).save(root / "train" / name / f"{i}.jpg")


@pytest.fixture
def timed(monkeypatch) -> list[str]:
    """Nothing is timed; the backbones that would have been."""
    asked: list[str] = []

    def costs(self, params, setting, images, machine) -> Costs:
        asked.append(params.pretrain.backbone)
        return Costs(2, 6, 0.2, 0.001, 0.1, 1e-9)

    monkeypatch.setattr(auto.Meter, "costs", costs)
    return asked


def sepp(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def refused(result: Result) -> str:
    """The one line of an error."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    line = result.output.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    return line


def test_auto(folder, timed):
    photographs(folder / "raw")
    result = sepp("auto", "--data", "imagefolder", "--budget", "1h")
    assert result.exit_code == 0, result.output
    assert timed[0] == "resnet10-w16"
    params = load_all(PARAMS)
    assert (params.data.name, params.data.watch) == ("imagefolder", ["imagefolder"])
    assert params.data.split == 0.2
    assert params.data.resize == 70
    assert params.views.image_size == 64
    assert params.sampler.batch_size == 16  # of 64 images
    assert PARAMS.read_text().startswith(
        "# Written by `sepp preset auto --data imagefolder --budget 60m`"
    )
    text = " ".join(result.output.split())
    assert "64 of imagefolder to train on and 16 to test (data.split: 0.2), 2 classes" in text
    for stage in (
        "prepare",
        "sampler",
        "embed",
        "mine",
        "pretrain",
        "linear_eval",
        "report",
        "whole",
    ):
        assert f" {stage} " in text
    assert "params.yaml is now the auto preset on imagefolder; run `dvc repro`" in text
    assert (folder / "data/weights/sampler.json").exists()


def test_auto_may_be_run_again_until_the_file_is_edited(folder, timed):
    photographs(folder / "raw")
    assert sepp("auto", "--data", "imagefolder").exit_code == 0
    first = PARAMS.read_text()
    assert "--budget 30m" in first
    assert sepp("auto", "--data", "imagefolder", "--budget", "2h").exit_code == 0
    assert PARAMS.read_text() != first
    for file, old, new in (
        ("params.yaml", "seed: 0", "seed: 1"),
        ("methods.yaml", "weight_decay: 0.0005", "weight_decay: 0.0"),
        ("evaluations.yaml", "layout: voc", "layout: coco"),
    ):
        text = Path(file).read_text()
        assert old in text
        Path(file).write_text(text.replace(old, new, 1))
        line = refused(sepp("auto", "--data", "imagefolder"))
        assert line.startswith(f"Error: {file}: has changes that git has not recorded")
        assert sepp("auto", "--data", "imagefolder", "--force").exit_code == 0


def test_auto_on_parquet_without_labels(folder, timed):
    (folder / "raw").mkdir()
    images = [samples.encoded(samples.pixels(i, (20, 20))) for i in range(40)]
    samples.shard(folder / "raw/train.parquet", images, None)
    assert sepp("auto", "--data", "parquet").exit_code == 0
    params = load_all(PARAMS)
    assert params.data.unlabelled
    assert (params.data.split, params.seeds, params.sampler.stem) == (None, [0], "cifar")


def broken(root: Path) -> None:
    (root / "train/a").mkdir(parents=True)
    (root / "train/a/x.jpg").write_bytes(samples.truncated_jpeg())


@pytest.mark.parametrize(
    ("prepared", "arguments", "told"),
    [
        (None, ["--data", "imagefolder"], "no such folder; set SEPP_DATA_ROOT"),
        (lambda root: root.mkdir(), ["--data", "imagefolder"], "holds no image"),
        (lambda root: root.mkdir(), ["--data", "parquet"], "holds no train*.parquet"),
        (broken, ["--data", "imagefolder"], "none of 1 images decodes"),
        (lambda root: photographs(root, 1), ["--data", "imagefolder"], "at least 32"),
        (
            photographs,
            ["--data", "imagefolder", "--budget", "soon"],
            "Error: --budget: 'soon' is no length of time; 30m, 8h, 2d and 1h30m are",
        ),
        (photographs, ["--data", "imagefolder", "--budget", ""], "--budget: '' is no length"),
        (photographs, ["--data", "imagefolder", "--budget", "1m"], "--budget 12m is the least"),
        (photographs, [], "needs --data"),
    ],
)
def test_bad_input(folder, timed, prepared, arguments, told):
    if prepared:
        prepared(folder / "raw")
    assert told in refused(sepp("auto", *arguments))
    assert not PARAMS.exists()


def test_a_refusal_of_the_budget_shows_what_the_least_takes(folder, timed):
    photographs(folder / "raw")
    result = sepp("auto", "--data", "imagefolder", "--budget", "1m")
    least = re.search(r"--budget (\d+)m is the least", refused(result))[1]
    text = " ".join(result.output.split())
    assert "At least: resnet10-w16" in text
    assert re.search(r" pretrain 2 .* whole \d+ min ", text)
    accepted = sepp("auto", "--data", "imagefolder", "--budget", f"{least}m")
    assert accepted.exit_code == 0
    assert "Too short" not in accepted.output


def test_a_root_that_is_no_folder_is_named(folder, monkeypatch):
    file = folder / "photos.zip"
    file.touch()
    monkeypatch.setenv("SEPP_DATA_ROOT", str(file))
    line = refused(sepp("auto", "--data", "imagefolder"))
    assert line.startswith(f"Error: SEPP_DATA_ROOT: '{file}': is a file, and no folder; set ")
    monkeypatch.setenv("SEPP_DATA_ROOT", str(folder / "nowhere"))
    line = refused(sepp("digits", "--data", "imagefolder"))
    assert line.startswith(f"Error: SEPP_DATA_ROOT: '{folder / 'nowhere'}': no such folder; set ")
    monkeypatch.delenv("SEPP_DATA_ROOT")
    line = refused(sepp("auto", "--data", "parquet"))
    assert f"'{folder / 'data/raw'}' (where it is not set): no such folder" in line


def test_a_budget_goes_with_auto_alone(folder):
    assert "--budget: goes with auto" in refused(sepp("digits", "--budget", "1h"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_on_other_images_has_their_statistics(folder, name):
    photographs(folder / "raw", 3, 400)
    result = sepp(name, "--data", "imagefolder")
    assert result.exit_code == 0
    text = PARAMS.read_text()
    load_all(PARAMS)
    whole = values_of(preset(name))
    written, original = values_of(text), {key: whole[key] for key in values_of(text)}
    for file, values in (("methods.yaml", whole["methods"]), ("evaluations.yaml", whole)):
        blocks = values_of(Path(file).read_text())
        assert blocks
        assert all(values[block] == own for block, own in blocks.items())
    mean, std = written["views"].pop("mean"), written["views"].pop("std")
    assert mean == pytest.approx([0.5, 0.5, 0.5], abs=0.05)
    assert std == pytest.approx([0.28, 0.28, 0.28], abs=0.05)
    del original["views"]["mean"], original["views"]["std"]
    original["data"] |= {"name": "imagefolder", "watch": ["imagefolder"]}
    assert written == original
    view = original["views"]["image_size"]
    line = f"views of {view} pixels are the recipe's; the images have 400"
    assert line in text
    assert line in result.output
    assert ("warning: " in result.output) == (view <= 32)
    assert sepp(name, "--data", "imagefolder").exit_code == 0  # it is no edit


def test_an_eight_pixel_view_is_not_silent(folder):
    photographs(folder / "raw", 3, 400)
    told = sepp("digits", "--data", "imagefolder").output
    assert "warning: views of 8 pixels show hardly anything of images of 400" in told
    assert "`sepp preset auto --data imagefolder` chooses" in told


@pytest.mark.parametrize(
    ("view", "edge", "odd"),
    [
        (8, 32, True),
        (8, 28, False),
        (32, 400, True),
        (32, 100, False),
        (96, 3000, False),
        (224, 112, True),
        (224, 200, False),
        (64, 4000, False),
        (20, 28, False),
    ],
)
def test_what_does_not_fit(view, edge, odd):
    assert (misfit(view, edge) is not None) == odd


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", BUNDLED)
def test_a_recipe_on_bundled_images(folder, name, data):
    assert sepp(name, "--data", data).exit_code == 0
    assert load_all(PARAMS).data.name == data
    own = values_of(preset(name))["data"]["name"] == data
    assert (PARAMS.read_text() == files(preset(name))["params.yaml"]) == own


@pytest.mark.parametrize("data", sorted(set(plugins("datasets")) - {*BUNDLED}))
def test_data_that_is_not_there_is_missed_at_once(folder, data):
    other = next(name for name in NAMES if name != data)
    assert "no such folder; set SEPP_DATA_ROOT" in refused(sepp(other, "--data", data))
    assert not PARAMS.exists()


def test_all_files_are_replaced_or_none(folder, monkeypatch):
    assert CliRunner().invoke(main, ["digits"]).exit_code == 0
    before = {file.name: file.read_text() for file in folder.glob("*.yaml")}
    write = Path.write_text

    def full(path, *arguments, **options):
        if "evaluations" in path.name:
            raise OSError(28, "No space left on device", str(path))
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    result = CliRunner().invoke(main, ["cifar10", "--force"])
    assert result.exit_code == 1
    assert "evaluations.yaml" in result.output
    assert {file.name: file.read_text() for file in folder.glob("*.yaml")} == before
