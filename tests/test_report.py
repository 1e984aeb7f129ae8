"""The report stage on a small set of results, written as the stages write them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import report
from stages.common import artifacts, explored, scores
from stages.common.errors import ArtifactError
from stages.common.explored import Explored, read_explored
from tests.conftest import REPOSITORY
from tests.reporting.results import (
    ARMS,
    LINEAR,
    SEEDS,
    forget_labels,
    history,
    run,
    write_mining,
    write_results,
    write_run,
    write_sampler,
)

COUNTS = ("pairs", "known", "right", "covered", "squares")
VOID = ("br", "hr", "img", "input", "link", "meta")


class Page(HTMLParser):
    """Checks that tags are balanced; collects ids, references and the text that people read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict] = []
        self.classes: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            if name in values:
                self.links.append(values[name])
        if tag == "img":
            self.images.append(values)
        self.classes.append(values.get("class", ""))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):  # <path … />, in the charts
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack, f"</{tag}> without a start"
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working directory with the results of two arms and two seeds."""
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path)
    return tmp_path


def test_the_summary_is_what_one_computes_by_hand(folder):
    summary, _ = run()
    assert summary["data"] == {"name": "made", "train": 48, "test": 24, "classes": 3}
    assert summary["pairs"] == {
        "count": 3, "accuracy": 2 / 3, "accuracy_low": 0.2, "accuracy_high": 0.9, "chance": 1 / 3,
        "anchors_covered": 4, "judged": 3,
    }  # fmt: skip
    assert summary["arms"]["vanilla"] == {
        "top1_mean": 90.5, "top1_std": 0.707107, "top1": [90, 91],
        "knn_mean": 89.5, "knn_std": 0.707107, "knn": [89, 90],
        "n": 2, "seeds": [0, 1], "steps": 9, "epochs": 3,
        "rows_seen": 9 * 16,
    }  # fmt: skip
    assert summary["arms"]["sepp"]["top1_std"] == 2.12132  # 3 / sqrt(2): the sample deviation
    # Differences 2 and 4: t of one degree of freedom at 97.5 % is 12.7062.
    expected = {"mean": 3.0, "low": -9.706205, "high": 15.706205, "p": 0.204833, "n": 2}
    assert summary["gain"]["sepp"]["linear"] == {**expected, "differences": [2, 4]}
    sections = ["data", "pairs", "arms", "gain", "rounds", "sampler", "weights", "test_error"]
    sections.append("evaluations")
    assert list(summary) == sections
    assert summary["sampler"] == {
        "method": "nnclr", "epochs": 6, "rows_seen": 288, "continued": False,
        "equal_epochs": 3 * (144 + 288) / 144,
    }  # fmt: skip
    assert list(summary["arms"]) == ARMS


def test_results_of_other_arms_and_seeds_are_ignored(folder):
    before = run()
    write_run("sepp", 2, linear_top1=1.0, knn_top1=1.0)
    write_run("random", 0, linear_top1=1.0, knn_top1=1.0)
    assert run() == before


def test_one_seed_has_no_spread(folder):
    summary, page = run(seeds=[0])
    assert summary["arms"]["sepp"]["top1_std"] is None
    gain = summary["gain"]["sepp"]["linear"]
    assert (gain["mean"], gain["low"], gain["p"]) == (2.0, None, None)
    assert "one seed, so no interval: this may be chance" in Page(page).text


def test_the_page_says_what_has_changed_since(folder):
    assert "Changed since" not in Page(run()[1]).text
    assert "Changed since: sepp.min." in Page(run(changed="sepp.min")[1]).text


def test_every_arm_s_rows_are_beside_its_gain(folder):
    text = " ".join(Page(run()[1]).text.split())
    assert "Rows seen: 144 + the sampler's 288" in text
    assert "Rows seen: vanilla 144; sepp 144 + the sampler's 288." in text
    assert "Vanilla of equal total training would have had 9 epochs, not 3." in text
    write_sampler(rows_seen=None)
    text = Page(run()[1]).text
    assert "144 + what the sampler's checkpoint was trained on, which is not known" in text
    assert "equal total training" not in text


def test_shares_of_the_oracle_s_gain_are_on_the_page(folder):
    assert "oracle" not in Page(run()[1]).text
    for seed, top1 in enumerate((94.0, 95.1)):  # gains of 4 and 4.1 where sepp has 2 and 4
        write_run("oracle", seed, linear_top1=top1, knn_top1=top1 - 1)
    summary, page = run(arms=[*ARMS, "oracle"])
    assert summary["gain"]["sepp"]["linear"]["oracle_share"]["mean"] == round(6 / 8.1, 6)
    assert "oracle_share" not in summary["gain"]["oracle"]["linear"]
    text = " ".join(Page(page).text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "74 % of oracle’s" in text
    assert "Share of the oracle's gain, linear: sepp 74 % (95 % interval" in text


def test_the_picture_is_of_the_gallery_s_sample(folder):
    run()
    with Image.open(report.Outputs.picture) as picture:
        assert picture.format == "PNG"
        assert not picture.info  # no time, no software
        assert picture.width > picture.height


def test_more_steps_are_marked_on_the_page(folder):
    assert "steps)" not in Page(run()[1]).text
    for seed in SEEDS:
        path = report.Inputs.evaluations / f"sepp-{seed}.json"
        artifacts.write_json(path, {**json.loads(path.read_text()), "steps": 252})
    text = Page(run()[1]).text
    assert "3 semantic pairs (x 28 steps)" in text
    assert "may be longer training" in text


def test_without_vanilla_there_is_no_gain(folder):
    summary, page = run(arms=["sepp"])
    assert summary["gain"] == {}
    assert "a gain needs vanilla" in Page(page).text


def test_a_skipped_evaluation_says_why(folder):
    for arm, seed in LINEAR:
        write_run(arm, seed, skipped="the data set has no test split")
    summary, page = run()
    assert summary["arms"]["sepp"] == {
        "top1_mean": None, "top1_std": None, "top1": [], "knn_mean": None, "knn_std": None,
        "knn": [], "n": 0, "seeds": [], "steps": 9, "epochs": 3, "rows_seen": 144,
        "note": "the data set has no test split",
    }  # fmt: skip
    assert summary["gain"] == {"sepp": None}
    text = Page(page).text
    assert "Not evaluated: vanilla, sepp. The data set has no test split." in text
    assert "linear classifier and a kNN" not in text


def test_without_labels_the_page_says_why_accuracy_is_missing(folder):
    why = "no accuracy: the images of the pairs have no labels"
    write_mining(None, note=why)
    forget_labels()
    summary, text = run()
    assert summary["pairs"]["accuracy"] is summary["pairs"]["chance"] is None
    assert summary["pairs"]["note"] == why
    page = Page(text)
    assert "No accuracy: the images of the pairs have no labels." in page.text
    assert page.text.count("labels unknown") == 3
    assert "Accuracy: pairs whose labels agree" not in page.text


def test_the_page_is_whole_and_needs_nothing_else(folder):
    _, text = run()
    page = Page(text)
    assert not re.search(r"https?:|url\((?!#)|@import|<script (?!type=.application/json)", text)
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert set(re.findall(r'(?:url\(|href=")#([\w-]+)', text)) <= set(page.ids)
    assert set(re.findall(r"var\(--(\w+)\)", text)) <= set(re.findall(r"--(\w+):", text))
    for id_, title in {
        "result": "The result", "thresholds": "Which threshold to choose",
        "curves": "Training curves", "pairs": "Mined pairs to look at",
    }.items():  # fmt: skip
        assert id_ in page.ids
        assert title in page.text
    assert text.count("<svg") == 6
    assert len(text) < 5_000_000


def test_an_accuracy_by_answers_is_called_so(folder):
    forget_labels()
    write_mining(0.6, chance=None, note="accuracy is estimated from 3 of the pairs")
    text = " ".join(Page(run()[1]).text.split())
    assert "60.0 %95 % interval 20.0 % to 90.0 %; accuracy is estimated from 3" in text
    assert "have equal labels" not in text
    assert "whose labels agree, 95" not in text


def test_where_no_images_are_similar_the_page_says_so(folder):
    found = read_explored(report.Inputs.explored)
    nothing = {name: np.zeros_like(getattr(found, name)) for name in COUNTS}
    empty = Explored(**{**vars(found), **nothing, "shown": found.shown.slice(0, 0)})
    explored.write_explored(report.Inputs.explored, empty)
    text = run()[1]
    assert "No two images are similar enough to be counted" in Page(text).text
    assert "<script" not in text


def test_no_other_script_may_run_and_nothing_be_asked_for(folder):
    text = run()[1]
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    script = re.search("<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'", "img-src data:", "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    assert not re.search(r"\son\w+=", text)


def test_a_name_of_a_class_cannot_end_the_script(folder):
    manifest = artifacts.read_parquet(report.Inputs.manifest, artifacts.MANIFEST, "prepare")
    names = ["</script><script>alert(1)</script>", "<!--", "c"]
    about = {**artifacts.metadata(manifest), "classes": names}
    artifacts.write_parquet(report.Inputs.manifest, manifest, artifacts.MANIFEST, about)
    text = run()[1]
    assert text.count("<script") == text.count("</script>") == 2
    assert "<!--" not in text


def test_the_gallery_shows_right_and_wrong_pairs_by_word(folder):
    page = Page(run()[1])
    assert page.classes.count("same") == 2
    assert page.classes.count("different") == 1
    assert "similarity 0.9750" in page.text
    images = [image for image in page.images if image["alt"]]
    assert [image["alt"] for image in images[:2]] == ["Image 1, 1", "Image 4, 1"]
    assert all(image["class"] == "crisp" for image in images)


def test_a_sampler_that_was_not_trained_here(folder):
    artifacts.write_csv(report.Inputs.sampler_history, [], ("epoch", "loss", "lr"))
    assert "The sampler was not trained here" in Page(run()[1]).text


def test_neighbours_are_shown_beside_the_pairs_where_a_method_picks_any(folder):
    assert "Neighbours" not in Page(run()[1]).text
    picks = [{**row, "neighbour_accuracy": 0.4, "pair_accuracy": 0.9} for row in history(4.0)]
    artifacts.write_csv(report.Inputs.histories / "sepp-0.csv", picks)
    text = Page(run()[1]).text
    assert "fnc picks, sepp" in text
    assert "nnclr picks" not in text  # the sampler's history has none
    sampler = [{**row, "neighbour_accuracy": 0.6} for row in history(5.0)]
    artifacts.write_csv(report.Inputs.sampler_history, sampler)
    assert "nnclr picks, sampler" in Page(run()[1]).text


def test_same_inputs_same_bytes(folder):
    run()
    made = [path for name, path in vars(report.Outputs()).items() if name != "cost"]
    first = {path.name: path.read_bytes() for path in made}
    code = "import sys; from tests.reporting import results; results.run()"
    environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "7", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert first == {path.name: path.read_bytes() for path in made}


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        (report.Inputs.mine, "mine"),
        (report.Inputs.explored / "bins.parquet", "explore"),
        (report.Inputs.pairs, "mine"),
        (report.Inputs.sampler_history, "sampler"),
        (report.Inputs.sampler, "sampler"),
        (report.Inputs.evaluations / "sepp-1.json", "linear_eval@sepp-1"),
        (report.Inputs.histories / "sepp-1.csv", "pretrain@sepp-1"),
    ],
)
def test_what_is_missing_is_named_with_its_stage(folder, file, stage):
    file.unlink()
    with pytest.raises(
        ArtifactError, match=re.escape(f"{file}: is missing; run `dvc repro {stage}`")
    ):
        run()
    assert not report.Outputs.page.exists()
    assert not report.Outputs.summary.exists()


def test_half_a_result_is_refused(folder):
    write_run("sepp", 0, linear_top1=92.0)
    with pytest.raises(ArtifactError, match=r"sepp-0\.json: does not say knn_top1"):
        run()


def test_it_never_loads_torch(folder):
    code = (
        "import sys; from tests.reporting import results; results.run(); "
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def write_scores(accuracy: float | None = 0.5, encoder: str = "5e") -> None:
    """Two scores, the paper's and a better one, of a sampler."""
    names = [*scores.COLUMNS[5:]]
    table = {
        score: {n: {**dict.fromkeys(names, 0.25), **certain(accuracy, better)} for n in (0.5, 1.0)}
        for score, better in ((scores.PAPER, 0), (scores.Score("backbone", "none", 2, "walks"), 1))
    }
    about = {"encoder": encoder, "k": 48, "neighbours": 10, "own_views": {"backbone": 0.75}}
    scores.write_scores(scores.Comparison(table, about))


def certain(accuracy: float | None, better: int) -> dict:
    value = None if accuracy is None else accuracy + better / 10
    return {"accuracy": value, "accuracy_low": value, "accuracy_high": value}


def mined_with(**about: object) -> None:
    table = artifacts.read_parquet(report.Inputs.pairs, artifacts.PAIRS, "mine")
    about = {**artifacts.metadata(table), **about}
    artifacts.write_parquet(report.Inputs.pairs, table, artifacts.PAIRS, about)


def test_scores_are_on_the_page_once_they_were_compared(folder):
    assert 'id="scores"' not in run()[1]
    report.Inputs.scores.write_text((REPOSITORY / "reports/scores.csv").read_text().split()[0])
    report.Inputs.scores_about.write_text("{}\n")
    assert 'id="scores"' not in run()[1]
    write_scores()
    mined_with(encoder="5e", layer="backbone", transform="none", views=2, neighbours=10)
    _, text = run()
    page = Page(text)
    assert "Scores: which finds the best pairs" in page.text
    assert (
        "1.\N{NO-BREAK SPACE}backbone, 2 views, walksthese pairs’; similarity ≥ 0.25060.0"
        in page.text
    )
    assert "2.\N{NO-BREAK SPACE}projection, cosinethe paper’s; similarity ≥ 0.25050.0" in page.text
    assert "projection, cosine (the paper’s)" in page.text  # in the chart
    assert text.count("<svg") == 7
    assert "of another sampler" not in page.text


def test_scores_of_another_sampler_are_marked(folder):
    write_scores(encoder="0f")
    mined_with(encoder="5e", layer="backbone", transform="none", views=2, neighbours=10)
    assert "These figures are of another sampler, of other images" in Page(run()[1]).text


def test_scores_without_labels_are_no_accuracies(folder):
    write_scores(accuracy=None)
    _, text = run()
    page = Page(text)
    assert "nothing here tells which pairs are right" in page.text
    assert "mean cosine of 0.750 (backbone)" in page.text
    assert text.count("<svg") == 6


def test_what_else_one_asks_of_pairs_is_on_the_page(folder):
    _, text = run()
    page = Page(text)
    words = " ".join(page.text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert {"classes", "hubs", "alike"} <= set(page.ids)
    # Pairs 0-3 and 1-4 are right, 0-1 is of classes 0 and 1; class 2 has none.
    assert "1 class is in no pair: 2." in words
    assert "All 2 classes, ordered by the upper end of the 95 % interval" in words
    assert "0 and1of 1 and 1 image" in words
    assert "in 66.7 % of all pairs" in words
    assert re.search(r"\d+ pairs more similar than sepp.max = 0.99 were left out", words)
    assert text.count("<caption>") == len(re.findall(r'<table class="(?:arms|named)', text))


def test_names_break_between_words_alone(folder):
    manifest = artifacts.read_parquet(report.Inputs.manifest, artifacts.MANIFEST, "prepare")
    names = ["white_wolf", "Japanese_(katakana)/character14", "R&B"]
    about = {**artifacts.metadata(manifest), "classes": names}
    artifacts.write_parquet(report.Inputs.manifest, manifest, artifacts.MANIFEST, about)
    text = run()[1]
    assert "white_<wbr>wolf" in text
    assert "Japanese_<wbr>(katakana)/<wbr>character14" in text
    assert "1 class is in no pair: R&amp;B." in text


def test_classes_without_labels_are_not_known(folder):
    forget_labels()
    write_mining(None, note="no labels")
    words = Page(run()[1]).text
    assert "Accuracy by class and confused classes are not known" in words
    assert "✓" not in words
    assert "Images with the most partners" in words
