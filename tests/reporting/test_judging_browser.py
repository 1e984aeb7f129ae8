"""Judging pairs in a browser, by keys, and what becomes of the answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stages import mine, report
from stages.common.bins import bins_of
from stages.common.judged import Answer, estimate, read_answers, write_answers
from stages.mining import find_pairs
from stages.mining.files import read_embeddings
from tests.reporting.conftest import Site

KEYS = "yynyysynyynyyyysynny"  # twenty
ANSWERS = {"y": "yes", "n": "no", "s": "unsure"}


def judge(page, keys: str = KEYS) -> None:
    page.locator("#question").scroll_into_view_if_needed()
    for key in keys:
        page.keyboard.press(key)


def answered(page) -> str:
    return page.locator("#answered").text_content()


def save(page, folder) -> list[Answer]:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save pair_labels.csv").click()
    assert download.value.suggested_filename == "pair_labels.csv"
    download.value.save_as(folder / "pair_labels.csv")
    return read_answers(folder / "pair_labels.csv")


def in_turn(site: Site) -> list[dict]:
    rows = [row for row in site.explored.shown.to_pylist() if row["turn"] >= 0]
    return sorted(rows, key=lambda row: row["turn"])


def counts(site: Site, answers: list[Answer]) -> tuple[np.ndarray, np.ndarray]:
    """Judged pairs, and those of them that are right, by bins."""
    bins = bins_of(np.array([a.similarity for a in answers], np.float32), site.explored.edges)
    asked, yes = np.zeros((2, len(site.explored.pairs)))
    for place, answer in zip(bins, answers, strict=True):
        asked[place] += answer.answer != "unsure"
        yes[place] += answer.answer == "yes"
    return asked, yes


def test_answers_by_keys_survive_a_reload_and_are_saved(visit, unlabelled, tmp_path):
    page = visit(unlabelled)
    page.get_by_label("Your name").fill("Ann, of Ål")
    page.get_by_label("Your name").press("Enter")
    judge(page)
    assert answered(page).startswith("20 of ")
    page.reload()
    assert answered(page).startswith("20 of ")
    assert page.get_by_label("Your name").input_value() == "Ann, of Ål"
    saved = save(page, tmp_path)
    assert [ANSWERS[key] for key in KEYS] == [answer.answer for answer in saved]
    put = in_turn(unlabelled)[: len(saved)]
    assert [(a.anchor_id, a.positive_id) for a in saved] == [
        (row["anchor"], row["positive"]) for row in put
    ]
    assert {(a.judge, a.explored) for a in saved} == {
        ("Ann, of Ål", unlabelled.explored.about["fingerprint"])
    }


def test_the_estimate_follows_and_is_what_mining_makes_of_the_file(visit, unlabelled, tmp_path):
    page, explored = visit(unlabelled), unlabelled.explored
    assert "How many are right is not known" in page.get_by_role("status").text_content()
    judge(page)
    asked, yes = counts(unlabelled, save(page, tmp_path))
    for low, high in ((explored.edges[0], 1.0), (0.9, 1.0), (0.97, 0.99)):
        page.get_by_label("Lowest similarity").fill(str(low))
        page.get_by_label("Highest similarity").fill(str(high))
        first, last = explored.bins(low, high)
        part = slice(first, last + 1)
        expected = estimate(explored.pairs[part], yes[part], asked[part])
        found = page.locator("#explored-accuracy").get_attribute("value")
        assert float(found) == pytest.approx(expected[0], abs=1e-9)
        bounds = " to ".join(f"{100 * bound:.1f} %" for bound in expected[1:])
        told = page.get_by_role("status").text_content().replace("\N{NO-BREAK SPACE}", " ")
        assert f"95 % interval {bounds}, by {asked[part].sum():.0f} answers" in told
    metrics = mined(unlabelled, tmp_path)
    assert metrics["judged"] == asked.sum()
    expected = estimate(explored.pairs, yes, asked)
    names = ("accuracy", "accuracy_low", "accuracy_high")
    assert [metrics[name] for name in names] == pytest.approx(expected, abs=1e-6)


def mined(site: Site, folder) -> dict:
    """The metrics of all explored pairs, by the answers in `folder`."""
    data = {f.name: site.folder / f.default for f in dataclasses.fields(mine.Inputs)}
    inputs = mine.Inputs(**{**data, "answers": folder / "pair_labels.csv"})
    ids, x = read_embeddings(inputs.embeddings, 2**30, folder)
    pairs = find_pairs(x, float(site.explored.edges[0]), 1.0)
    return mine.judge(read_answers(inputs.answers), inputs, iter([pairs]), ids)


def test_an_answer_can_be_taken_back(visit, unlabelled, tmp_path):
    page = visit(unlabelled)
    judge(page, "yn")
    undo = page.get_by_role("button", name="Take the last answer back")
    undo.click()
    page.reload()
    assert answered(page).startswith("1 of ")
    judge(page, "s")
    assert [answer.answer for answer in save(page, tmp_path)] == ["yes", "unsure"]
    undo.click()
    undo.click()
    assert answered(page).startswith("0 of ")
    assert undo.is_disabled()


def test_keys_answer_only_what_is_in_view(visit, unlabelled):
    page = visit(unlabelled)
    page.keyboard.press("y")
    assert answered(page).startswith("0 of ")
    page.keyboard.press("y")  # the first one has brought it into view
    assert answered(page).startswith("1 of ")
    page.get_by_label("Your name").press_sequentially("syn")
    assert answered(page).startswith("1 of ")


def test_neither_similarity_nor_label_is_shown(visit, labelled):
    page = visit(labelled)
    question = page.locator("#question")
    names = question.locator("canvas").evaluate_all("all => all.map(o => o.ariaLabel)")
    assert names == ["Image A of the pair", "Image B of the pair"]
    assert " ".join(question.text_content().split()) == "Same thing? Yes y No n Can’t say s"


def test_labels_decide_where_there_are_any(visit, labelled):
    page = visit(labelled)
    before = page.get_by_role("status").text_content()
    judge(page)
    assert page.get_by_role("status").text_content() == before
    assert "Labels decide the accuracy above" in page.locator("#judge").text_content()
    assert "Labels say otherwise on" in page.locator("#differing").text_content()


def test_answers_in_the_repository_are_there_and_others_are_kept(visit, unlabelled, tmp_path):
    page = visit(unlabelled)
    judge(page, "yny")
    own = save(page, tmp_path)
    other = own[0]._replace(explored="another", similarity=1.0)
    file = unlabelled.folder / report.Inputs.answers
    write_answers(file, [other, *own])
    unlabelled.report()
    try:
        page = visit(unlabelled)  # in another browser
        assert answered(page).startswith("3 of ")
        assert "3 of that file are counted here" in page.locator("#judge").inner_text()
        told = page.locator("#judge").inner_text()
        assert "Of the answers in that file 1 is on other pairs, of another score" in told
        judge(page, "n")
        assert save(page, tmp_path) == [other, *own, *save(page, tmp_path)[4:]]
        page.get_by_label("Load pair_labels.csv").set_input_files(file)
        assert len(save(page, tmp_path)) == 5
    finally:
        file.unlink()
        unlabelled.report()


def test_a_file_is_loaded_and_a_wrong_one_is_not(visit, unlabelled, tmp_path):
    page = visit(unlabelled)
    judge(page)
    save(page, tmp_path)
    page = visit(unlabelled)
    said, load = page.locator("#judge-said"), page.get_by_label("Load pair_labels.csv")
    file = tmp_path / "pair_labels.csv"
    good = file.read_text()
    for text, reason in {
        good.replace("judge", "who", 1): "it has no column judge",
        good.replace(",unsure,", ",maybe,", 1): 'answer "maybe" is none of yes, no, unsure',
        good + "1,2\n": "line 22 is too short",
    }.items():
        file.write_text(text)
        load.set_input_files(file)
        said.get_by_text(reason).wait_for()
        assert answered(page).startswith("0 of ")
    file.write_text("\ufeff" + good.replace("\n", "\r\n"), newline="")
    load.set_input_files(file)
    said.get_by_text("20 answers on these pairs").wait_for()
    assert answered(page).startswith("20 of ")


def test_a_browser_that_keeps_nothing_says_so(visit, unlabelled):
    forbidden = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no') }})"
    page = visit(unlabelled, script=forbidden)
    judge(page, "yyn")
    assert answered(page).startswith("3 of ")
    assert page.get_by_text("This browser keeps nothing").is_visible()


def test_a_name_signs_what_was_answered_before(visit, unlabelled, tmp_path):
    page = visit(unlabelled)
    judge(page, "yn")
    page.get_by_label("Your name").fill("Bo")
    page.get_by_label("Your name").press("Enter")
    judge(page, "s")
    assert [(a.answer, a.judge) for a in save(page, tmp_path)] == [
        ("yes", "Bo"), ("no", "Bo"), ("unsure", "Bo"),
    ]  # fmt: skip
    page.get_by_label("Your name").fill("Cy")
    page.get_by_label("Your name").press("Enter")
    assert page.get_by_role("button", name="Take the last answer back").is_disabled()
    judge(page, "y")  # another person goes on where the first one was
    assert answered(page).startswith("4 of ")
    assert save(page, tmp_path)[-1].judge == "Cy"
