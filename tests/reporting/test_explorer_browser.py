"""The explorer in a browser: its numbers are those of `Explored`, and its pairs of the interval."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stages.common import judged
from stages.reporting import page as reporting
from tests.reporting.conftest import Site


def numbers(page) -> dict[str, float]:
    """What programs read."""
    names = ("pairs", "per-image", "covered", "extra", "accuracy")
    values = {name: page.locator(f"#explored-{name}").get_attribute("value") for name in names}
    return {name: float(value) if value else None for name, value in values.items()}


def interval(page) -> tuple[float, float]:
    low, high = (page.get_by_label(f"{which} similarity") for which in ("Lowest", "Highest"))
    return float(low.input_value()), float(high.input_value())


def similarities(page) -> list[float]:
    cards = page.locator("#interval-pairs > li")
    return cards.evaluate_all("all => all.map(card => Number(card.dataset.similarity))")


def check(page, explored, images: int = 240) -> None:
    low, high = interval(page)
    first, last = explored.bins(low, high)
    count = explored.count(first, last)
    shown = numbers(page)
    accuracy = explored.accuracy(first, last)
    assert shown["pairs"] == count
    assert shown["per-image"] == shown["extra"] == pytest.approx(count / images)
    assert shown["covered"] == explored.covered[first, last]
    told = page.get_by_role("status").text_content()
    assert f"{count:,.0f} pairs have a similarity from {low:.3f} to {high:.3f}" in told
    if accuracy:
        assert shown["accuracy"] == pytest.approx(accuracy[0], abs=1e-9)
        bounds = f"{100 * accuracy[1]:.1f} % to {100 * accuracy[2]:.1f} %"
        assert bounds in told.replace("\N{NO-BREAK SPACE}", " ")
    all_shown = explored.shown["similarity"].to_numpy().astype(float)
    inside = all_shown[(all_shown >= low - 1e-7) & ((all_shown < high - 1e-7) | (high == 1))]
    assert similarities(page) == pytest.approx(np.sort(inside)[:24].tolist(), abs=1e-6)


def test_sliders_by_keyboard_tell_what_every_interval_gives(visit, labelled):
    page, explored = visit(labelled), labelled.explored
    assert interval(page) == (0.97, 0.99)  # the mined one
    check(page, explored)
    page.get_by_label("Lowest similarity").focus()
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "PageDown", "Home", "ArrowRight"):
        page.keyboard.press(key)
        check(page, explored)
    page.get_by_label("Highest similarity").focus()
    for key in ("End", "ArrowLeft", "PageDown"):
        page.keyboard.press(key)
        check(page, explored)
    page.get_by_role("button", name="Back to the mined interval").click()
    assert interval(page) == (0.97, 0.99)


def test_a_slider_makes_room_for_the_other(visit, labelled):
    page, explored = visit(labelled), labelled.explored
    width = explored.edges[1] - explored.edges[0]
    page.get_by_label("Lowest similarity").press("End")
    assert interval(page) == pytest.approx((1 - width, 1))
    page.get_by_label("Highest similarity").press("Home")
    assert interval(page) == pytest.approx((explored.edges[0], explored.edges[1]))
    check(page, explored)


def test_all_pairs_that_the_page_has_can_be_seen(visit, labelled):
    page, explored = visit(labelled), labelled.explored
    page.get_by_label("Lowest similarity").press("Home")
    page.get_by_label("Highest similarity").press("End")
    page.get_by_role("button", name="Show more pairs").evaluate(
        "more => { while (!more.hidden) more.click() }"
    )
    assert len(similarities(page)) == len(explored.shown)
    # Once the sprite is decoded, which may be after the canvas is there.
    page.wait_for_function(
        "() => { const o = document.querySelector('#interval-pairs canvas');"
        " return o.getContext('2d').getImageData(0, 0, o.width, o.height).data"
        ".some((value, i) => i % 4 < 3 && value > 0) }"
    )


def test_the_command_to_run_is_there(visit, labelled, unlabelled):
    page = visit(labelled)
    page.get_by_label("Lowest similarity").press("ArrowRight")
    command = page.locator("#command").text_content()
    assert command == "dvc exp run -S sepp.min=0.971 -S sepp.max=0.99"
    page = visit(unlabelled)  # mined by number
    command = page.locator("#command").text_content()
    assert command == ("dvc exp run -S sepp.min=0.97 -S sepp.max=0.99 -S sepp.pairs_per_image=null")
    per_image = f"{numbers(page)['per-image']:.6f}".rstrip("0")
    assert page.locator("#command-count").text_content() == (
        f"dvc exp run -S sepp.pairs_per_image={per_image} -S sepp.max=0.99"
    )


def test_the_estimate_is_python_s(browser):
    source = (Path(reporting.__file__).parent / "statistics.js").read_text()
    code = f"([pairs, yes, asked]) => {{ {source}; return estimate(pairs, yes, asked); }}"
    page = browser.new_page()
    for seed, size in enumerate([1, 2, 7, 40, 200, 200, 400]):
        rng = np.random.default_rng(seed)
        asked = rng.integers(0, 1 if seed == 5 else 3, size).astype(float)
        yes = np.floor(2 * asked * rng.random(size)) / 2  # two people may disagree
        pairs = np.floor(rng.random(size) * 10 ** rng.integers(0, 6, size)) + 1
        found = page.evaluate(code, [values.tolist() for values in (pairs, yes, asked)])
        expected = judged.estimate(pairs, yes, asked)
        assert (found is None) == (expected is None) == (asked.sum() == 0)
        if found:
            values = [found[name] for name in ("share", "low", "high")]
            assert values == pytest.approx(expected, abs=1e-9)
    page.close()


def test_estimates_are_called_so(visit, labelled, tmp_path):
    page = visit(labelled)
    assert "about" not in page.get_by_role("status").text_content()
    text = labelled.page.read_text().replace('"exact":true', '"exact":false')
    sampled = Site(tmp_path, labelled=True)
    sampled.page.parent.mkdir()
    sampled.page.write_text(text)
    page = visit(sampled)
    assert page.get_by_role("status").text_content().startswith("About ")
    assert page.locator("#explored-covered").text_content().startswith("about ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
def test_it_is_accessible_and_fits(visit, request, kind, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe installed")
    page = visit(request.getfixturevalue(kind), width=width, color_scheme=scheme)
    page.locator("#question").scroll_into_view_if_needed()
    for key in "ynsnyn":
        page.keyboard.press(key)
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 360:
        targets = page.locator("button:visible, input[type=range], summary:visible")
        assert min(targets.evaluate_all("all => all.map(o => o.offsetHeight)")) >= 44


def test_without_scripts_there_is_the_curve(visit, labelled):
    page = visit(labelled, java_script_enabled=False)
    assert page.get_by_text("This browser runs no scripts here").is_visible()
    assert page.locator("#thresholds figure.chart svg").is_visible()
    assert not page.locator("#judge").is_visible()
    assert not page.get_by_label("Lowest similarity").is_visible()


def test_on_paper_there_is_its_state_without_controls(visit, labelled):
    page = visit(labelled, color_scheme="dark")
    page.get_by_label("Lowest similarity").press("ArrowLeft")
    page.emulate_media(media="print")
    assert page.locator("#curve").is_visible()
    assert page.locator("#explored-pairs").is_visible()
    for name in ("#low", "#more", "#question", "#save"):
        assert not page.locator(name).is_visible()
    colour = page.locator("body").evaluate("o => getComputedStyle(o).color")
    assert max(map(int, re.findall(r"\d+", colour))) < 80  # dark ink
