"""`sepp export`: files for other libraries, and a card beside each."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from stages.common.plugins import plugins
from stages.formats._history import folder_digest
from stages.ssl.encoder import Encoder
from tests.formats.encoders import made, write_photo
from tests.formats.lock import write_lock
from tests.test_cli import refused, sepp

EXPORT = ("export", "models/sepp-0")
TRAINING = {"method": "simclr", "epochs": 40, "base_lr": 0.8}


@pytest.fixture
def encoder(tmp_path, monkeypatch) -> Encoder:
    """models/sepp-0, beside an image."""
    monkeypatch.chdir(tmp_path)
    write_photo(Path("photo.jpg"))
    encoder = made("narrow, of small images")
    encoder.save(Path("models/sepp-0"))
    path = Path("models/sepp-0/config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "training": TRAINING}))
    return encoder


def run(out: str, name: str, *more: str) -> str:
    result = sepp("export", "models/sepp-0", out, "--format", name, *more)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_formats_are_found_by_name():
    assert plugins("formats") == ["huggingface", "onnx", "timm", "torchvision"]


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_what_is_printed_loads_what_is_written(encoder, name):
    told, code = run("my folder/encoder", name).split("\n\n", 1)
    assert told.startswith("my folder/encoder.safetensors: 64 features")
    known: dict = {}
    exec(code, known)
    expected = encoder.embed(["photo.jpg"]).numpy()
    np.testing.assert_allclose(known["features"].numpy(), expected, rtol=1e-5, atol=1e-5)
    card = Path("my folder/encoder.safetensors.md").read_text()
    assert code.replace("my folder/", "") in card  # which may be moved, and the file with it
    assert "simclr" in card
    assert "base_lr: 0.8" in card
    assert "shorter\nedge to 23 pixels" in card


def test_the_same_encoder_gives_the_same_bytes(encoder):
    for name in ("one", "two"):
        run(name, "huggingface")
        run(name, "torchvision")
    for file in Path("one").iterdir():
        if file.name != "README.md":  # which says how to load it by its name
            assert file.read_bytes() == (Path("two") / file.name).read_bytes()
    assert Path("one.safetensors").read_bytes() == Path("two.safetensors").read_bytes()


def test_the_hub_reads_the_card(encoder):
    run("out", "huggingface")
    card = ModelCard.load("out/README.md")
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert card.data.library_name == "transformers"
    assert {"self-supervised-learning", "simclr"} <= set(card.data.tags)
    files = {file.name for file in Path("out").iterdir()}
    assert files >= {"config.json", "model.safetensors", "preprocessor_config.json"}


def test_a_card_without_a_history_says_so(encoder):
    run("out", "torchvision")
    card = Path("out.safetensors.md").read_text()
    assert not card.startswith("---")
    assert card.count("Not known") == 2  # data, results
    assert re.search(r"## Results\n\nNot known", card)


def test_a_card_has_data_recipe_and_results_with_intervals(encoder):
    metrics, summary = Path("reports/metrics.json"), Path("reports/summary.json")
    metrics.parent.mkdir()
    result = {"arm": "sepp", "seed": 0, "linear_top1": 81.0, "linear_top5": 96.0, "knn_top1": 75.0}
    metrics.write_text(json.dumps(result | {"test_images": 680}))
    gain = {"mean": 0.98, "low": -1.03, "high": 2.99, "p": 0.17, "n": 3, "differences": [0, 1, 2]}
    arm = {"n": 3, "seeds": [0, 1, 2], "top1": [81.0, 82.0, 81.5], "top1_mean": 81.5}
    whole = {
        "data": {"name": "characters", "train": 2040, "test": 680},
        "arms": {"sepp": arm | {"top1_std": 0.5, "knn_mean": 75.1, "knn_std": 0.37}},
        "gain": {"sepp": {"linear": gain, "knn": gain}},
        "pairs": {"count": 3965, "accuracy": 0.823, "accuracy_low": 0.79, "accuracy_high": 0.85},
    }
    summary.write_text(json.dumps(whole))
    digest = folder_digest(Path("models/sepp-0"))
    further = Path("reports/metrics/evaluations/semi_supervised/sepp-0.json")
    further.parent.mkdir(parents=True)
    found = {"reported": [["semi_1_top1", "1 % of the labels, top-1"]], "semi_1_top1": 61.234}
    further.write_text(json.dumps(found | {"note": "1 % is 20 images"}))
    md5 = {path: folder_md5(path) for path in (metrics, summary, further)}
    stages = {
        "mine": {"params": {"sepp.min": 0.9}, "outs": {"data/pairs.parquet": "a"}},
        "pretrain@sepp-0": {
            "deps": {"data/pairs.parquet": "a"},
            "outs": {"models/sepp-0": digest},
        },
        "linear_eval@sepp-0": {"deps": {"models/sepp-0": digest}, "outs": {metrics: md5[metrics]}},
        "report": {"outs": {summary: md5[summary]}},
        "evaluate@semi_supervised-sepp-0": {
            "deps": {"models/sepp-0": digest},
            "outs": {further: md5[further]},
        },
    }
    write_lock(Path("dvc.lock"), stages)
    run("out", "torchvision")
    card = Path("out.safetensors.md").read_text()
    for said in (
        "characters: 2,040 training images",
        "sepp.min: 0.9",
        "| linear classifier, top-1 | 81.00 | 77.88 to 83.77 |",
        "linear 81.50 ± 0.50, kNN 75.10 ± 0.37",
        "+0.98 points; not significant at 5 % (95 % interval −1.03 to +2.99",
        "3,965 pairs",
        "\n\n| evaluation | number | % |\n|---|---|--:|\n"
        "| semi_supervised | 1 % of the labels, top-1 | 61.23 |\n\n"
        "semi_supervised: 1 % is 20 images.\n",
    ):
        assert said in card.replace("\N{NO-BREAK SPACE}", " "), said
    assert "Not known" not in card


def folder_md5(path: Path) -> str:
    import hashlib

    return hashlib.md5(path.read_bytes()).hexdigest()


def test_what_is_there_is_kept(encoder):
    for there, out, name in (
        ("out.safetensors", "out", "timm"),
        ("more.safetensors.md", "more", "timm"),
    ):
        Path(there).write_text("precious")
        line = refused(sepp("export", "models/sepp-0", out, "--format", name))
        assert f"{there}: is there already; " in line
        assert Path(there).read_text() == "precious"
    line = refused(sepp(*EXPORT, "more.safetensors.md", "--format", "huggingface", "--force"))
    assert "more.safetensors.md: --format huggingface writes a folder, which this is not" in line
    Path("dir.onnx").mkdir()
    line = refused(sepp(*EXPORT, "dir", "--format", "onnx", "--force"))
    assert "dir.onnx: --format onnx writes a file, which this is not" in line
    for own in ("models/sepp-0", "models/sepp-0/hub"):
        line = refused(sepp(*EXPORT, own, "--format", "huggingface", "--force"))
        assert f"{own}: is in the encoder's own folder" in line


def test_force_replaces_what_it_writes_and_nothing_else(encoder):
    run("out", "huggingface")
    Path("out/.git").mkdir()
    for name in ("notes.txt", "config.json"):
        Path("out", name).write_text("mine")
    run("out", "huggingface", "--force")
    assert Path("out/notes.txt").read_text() == "mine"
    assert Path("out/.git").is_dir()
    assert "auto_map" in Path("out/config.json").read_text()
    assert {path.name for path in Path().iterdir()} == {"models", "out", "photo.jpg"}


def test_force_leaves_no_file_of_an_export_in_another_layout(encoder):
    own = {"config.json", "model.safetensors", "README.md"}
    run("out", "huggingface")
    Path("out/notes.txt").write_text("mine")
    made("usual").save(Path("models/usual"))
    again = ("export", "models/usual", "out", "--format", "huggingface", "--force")
    assert sepp(*again).exit_code == 0
    assert {file.name for file in Path("out").iterdir()} == {*own, "notes.txt"}
    Path("out/preprocessor_config.json").write_text("mine")  # and not that export's
    assert sepp(*again).exit_code == 0
    assert Path("out/preprocessor_config.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("models/sepp-0", "photo.jpg/out", "--format", "timm"), "cannot be written"),
        (("models/none", "out", "--format", "timm"), "models/none: holds no encoder"),
        (("models/sepp-0", "out.pth", "--format", "timm"), "whose name ends in .safetensors"),
        (("models/sepp-0", "out", "--format", "timm", "--layer", "projection"), "--format onnx"),
        (("models/other", "out", "--format", "timm"), "--format torchvision, huggingface and onnx"),
        (("models/plain", "out", "--format", "onnx", "--layer", "projection"), "no projection"),
    ],
)
def test_mistakes_are_one_line(encoder, arguments, said):
    made("no ResNet").save(Path("models/other"))
    plain = Encoder(encoder.config.__class__(**{**vars(encoder.config), "projection": None}))
    plain.save(Path("models/plain"))
    assert said in refused(sepp("export", *arguments))
    assert not list(Path().glob("*out*"))


def test_an_unknown_format_is_refused(encoder):
    result = sepp("export", "models/sepp-0", "out", "--format", "caffe")
    assert result.exit_code == 2
    assert "'caffe' is not one of 'huggingface', 'onnx', 'timm', 'torchvision'" in result.output


def test_a_library_that_is_missing_is_named(encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    line = refused(sepp("export", "models/sepp-0", "out", "--format", "onnx"))
    assert 'onnxscript is not installed: pip install -e ".[export]"' in line
    assert not list(Path().glob("*out*"))
