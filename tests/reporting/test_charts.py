"""Charts: what they show, that they follow the page's theme, and that they do not change."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from stages.reporting.charts import (
    Curve,
    neighbour_chart,
    score_chart,
    threshold_chart,
    training_chart,
)
from stages.reporting.inputs import by_step

CURVE = [
    {
        "similarity": s / 100, "pairs": s - 80, "accuracy": s / 100, "accuracy_low": s / 100 - 0.1,
        "accuracy_high": 1.0, "judged": s - 78,
    }
    for s in range(80, 100)
]  # fmt: skip
HISTORY = [{"step": 9 * e, "loss": 1 / e, "embedding_std": 0.5} for e in (1, 2, 3)]
RUNS = {"sepp": [{"linear_top1": 90.0}, {"linear_top1": 91.0}], "vanilla": [{"skipped": "why"}]}


def texts(svg: str) -> list[str]:
    return [e.text for e in ElementTree.fromstring(svg).iter() if e.tag == "text"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: threshold_chart(CURVE, 0.97, 0.99),
        lambda: threshold_chart(CURVE, 0.2, 0.2, chance=0.1),
        lambda: threshold_chart([{**row, "accuracy": None} for row in CURVE], 0.9, 1.0),
        lambda: training_chart("arms", {"sepp": [HISTORY, HISTORY], "vanilla": [HISTORY]}),
        lambda: training_chart("one", {"sepp": [HISTORY[:1]]}),
        lambda: score_chart(RUNS),
        lambda: neighbour_chart([Curve("picks", "sepp", HISTORY, "embedding_std")]),
    ],
)
def test_every_chart_is_sound_themed_and_always_the_same(draw):
    svg = draw()
    assert svg == draw()
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert not re.search(r"#[0-9a-f]{6}\b|http|font-family|NaN", svg), "a colour or font of its own"


def test_neighbour_curves_of_one_label_are_named_once():
    curves = [Curve(label, "sepp", HISTORY, "embedding_std") for label in ("mined", "a", "a")]
    found = texts(neighbour_chart(curves))
    assert [found.count(label) for label in ("mined", "a")] == [1, 1]
    assert "Neighbours with the anchor's label, %" in found


def test_titles_and_units_are_text():
    found = texts(threshold_chart(CURVE, 0.97, 0.99))
    assert {
        "Pairs (logarithmic)",
        "Accuracy: pairs whose labels agree, % (bar: 95 % interval)",
    } <= set(found)
    assert "similarity of the two images" in found


def test_chance_and_the_uncertain_bins_are_drawn():
    assert "chance" not in texts(threshold_chart(CURVE, 0.97, 0.99))
    assert "chance" in texts(threshold_chart(CURVE, 0.97, 0.99, chance=0.1))
    hollow = "fill: var(--panel); stroke: var(--sepp)"
    assert hollow in threshold_chart(CURVE, 0.97, 0.99)  # bins of 2 to 19 judged pairs
    sure = [{**row, "judged": 500} for row in CURVE]
    assert hollow not in threshold_chart(sure, 0.97, 0.99)


def test_without_accuracy_only_pairs_are_drawn():
    svg = threshold_chart([{**row, "accuracy": None} for row in CURVE], 0.97, 0.99)
    assert not any("Accuracy" in text for text in texts(svg))


def test_arms_of_equal_training_end_at_one_place():
    """2,040 images in batches of 64: ten epochs of vanilla's, and as many steps of more rows."""
    own = [row["step"] for row in by_step([{}] * 10, 2040 // 64, 310, before=930)]
    more = [row["step"] for row in by_step([{}] * 4, 5978 // 64, 310, before=930)]
    assert own == [*range(961, 1241, 31)]
    assert more == [1023, 1116, 1209, 1240]


def test_the_loss_is_found_by_name_and_the_spread_only_if_recorded():
    bare = [{"lr": 0.1, "loss": 2.0, "step": 9}, {"lr": 0.1, "loss": None, "step": 1800}]
    found = texts(training_chart("arms", {"sepp": [bare], "oracle": [bare]}))
    assert {"Loss", "optimiser steps of the whole training", "sepp", "oracle"} <= set(found)
    assert not any("Spread" in text for text in found)
