from __future__ import annotations

import pytest

from stages.common.errors import SeppError
from stages.recipe.duration import budget_of, seconds_of, spoken


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("8h", 28800), ("1h30m", 5400), ("2d", 172800), ("90s", 90), (" 1.5H ", 5400)],
)
def test_budgets(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "soon", "m30", "-5m", "0m", "30m8h", "1e3s", "nan", "inf"]
)
def test_what_is_no_budget_is_refused_by_name(text):
    with pytest.raises(SeppError) as caught:
        seconds_of(text)
    told = f"--budget: {text!r} is no length of time; 30m, 8h, 2d and 1h30m are"
    assert str(caught.value) == told


@pytest.mark.parametrize("text", ["30", "1.5"])
def test_a_number_without_a_unit_is_told_of_one(text):
    with pytest.raises(SeppError, match=f"^--budget: '{text}': give a unit, e.g. {text}m$"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (45.4, "45 s"), (700, "12 min"), (7260, "2 h 1 min"), (10**6, "12 days")],
)
def test_lengths_are_told_to_two_figures(seconds, text):
    assert spoken(seconds) == text


@pytest.mark.parametrize("seconds", [1, 59, 61, 3600, 10_799, 10_801, 99_999])
def test_a_budget_that_is_named_holds_the_time(seconds):
    assert seconds_of(budget_of(seconds)) >= seconds
