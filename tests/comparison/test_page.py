"""The page and its charts: whole, without a network, and the same every time."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from stages.comparison.charts import apart, gain_chart
from stages.comparison.experiments import Experiment
from stages.comparison.page import breakable, render
from stages.comparison.revisions import LeftOut
from stages.comparison.rows import Comparison, compare
from tests.comparison.checkout import summary
from tests.test_report import Page

PARAMS = {"sampler.method": "moco", "pretrain.method": "moco", "sepp.min": 0.9}
NAME = "a-name_with.words-and-0.95-<b>\"&'"


def made(*results: dict, **more: object) -> Comparison:
    experiments = [
        Experiment(f"{NAME}{place}", {**PARAMS, "sepp.min": place / 10}, result)
        for place, result in enumerate(results)
    ]
    return compare(experiments, more.get("left_out", ()), None)


def texts(svg: str) -> list[str]:
    return [e.text for e in ElementTree.fromstring(svg).iter() if e.tag == "text"]


RESULTS = [summary(), summary(90_000, 0.5, 3.0, steps=1170), summary(5, None, 0.3, seeds=1)]


def test_the_page_is_whole_and_always_the_same():
    found = made(*RESULTS, left_out=[LeftOut(NAME, "failed; `dvc queue logs a<b` says why")])
    html = render(found)
    assert html == render(found)
    page = Page(html.replace("<wbr>", ""))
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|@import|url\((?!#)", html)
    for text in ("3 results side by side", f"{NAME}0", "min=0.1", "x 1.3", "Left out"):
        assert text in page.text, text
    assert re.search(r"\+\d\.\d\d\*", page.text)
    assert "the images of the pairs have no labels" in page.text
    assert "<code>dvc queue logs a&lt;b</code>" in html
    assert html.count("<svg") == 2


def test_tables_and_charts_are_labelled():
    html = render(made(*RESULTS))
    headers = re.findall(r"<th [^>]*>", html)
    assert len(headers) == 7 + 3
    assert all('scope="' in header and 'role="' in header for header in headers)
    assert all("aria-label=" in svg for svg in re.findall("<svg [^>]*>", html))
    assert len(re.findall("<h1>", html)) == 1
    named = set(re.findall(r'aria-labelledby="([^"]+)"', html))
    assert named <= set(Page(html.replace("<wbr>", "")).ids)


def test_names_have_places_to_break_between_words_alone():
    assert breakable("a-b_c/d.e") == "a-<wbr>b_<wbr>c/<wbr>d.<wbr>e"
    assert breakable("min=0.95") == "min=<wbr>0.95"
    for whole in ("lr=1e-05", "x=-0.5", "plain", "--"):
        assert str(breakable(whole)).replace("=<wbr>", "=") == whole
    assert breakable("<i>-b") == "&lt;i&gt;-b"


def test_without_a_gain_there_is_no_chart():
    html = render(made(summary(gain=None)))
    assert "<svg" not in html
    assert "1 result<" in html


def chart(*results: dict) -> str:
    rows = made(*results).rows
    svg = gain_chart("linear", "Gain in linear top-1, points", rows)
    assert svg == gain_chart("linear", "Gain in linear top-1, points", rows)
    assert not re.search(r"#[0-9a-f]{6}\b|http|font-family|NaN", svg), "a colour or font of its own"
    return svg


def test_points_are_numbered_and_axes_named():
    found = texts(chart(*RESULTS))
    assert found.count("1") >= 2  # in both panels
    assert {"2", "3", "pairs (logarithmic)", "right pairs, %"} <= set(found)
    assert found.count("Gain in linear top-1, points") == 2
    near = texts(chart(summary(100), summary(120)))
    assert "pairs" in near
    assert "pairs (logarithmic)" not in near
    assert "right pairs, %" not in texts(chart(summary(100, None), summary(0, None)))


def test_what_is_significant_is_filled():
    hollow = "fill: var(--panel); stroke: var(--sepp)"
    assert hollow in chart(summary())
    assert hollow not in chart(summary(9, 0.5, 3.0))


@pytest.mark.parametrize(
    "places", [[3.0], [5.0] * 12, [1.0, 1.0, 2.0], list(range(30)), [0.0, 0.0], [-2.0, -2.0]]
)
def test_points_are_moved_apart_and_no_further_than_they_must(places):
    moved, (low, high) = apart(places)
    assert len(moved) == len(places)
    gaps = np.diff(np.sort(moved))
    width = max(places) - min(places)
    assert (gaps > 0).all()
    assert low < min(moved) <= max(moved) < high
    assert np.mean(moved) == pytest.approx(np.mean(places))  # to both sides alike
    if width and len(set(places)) == len(places):
        np.testing.assert_allclose(moved, places, atol=width * 0.1)


def test_points_that_are_apart_stay():
    assert apart([9.0, 1.0, 5.0])[0] == pytest.approx([9.0, 1.0, 5.0])
