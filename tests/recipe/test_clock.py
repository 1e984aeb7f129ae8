"""How long timing takes at most, and what is known of the times there were."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stages.recipe import clock
from stages.recipe.clock import Clock, Stopwatch, allowed


def watch(monkeypatch, until: float, *ends: float) -> tuple[Stopwatch, list[bool]]:
    """Begun at 0, with laps that end then; and whether each was the last."""
    now = iter([0.0, *ends])
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    made = Stopwatch(until)
    return made, [made.lap() for _ in ends]


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(1, 30), (3, 30), (10, 30), (30, 90), (40, 120), (60 * 24 * 30, 120)]
)
def test_timing_takes_a_small_share_of_the_budget(minutes, seconds):
    assert allowed(60.0 * minutes) == pytest.approx(seconds)


def test_the_first_ones_do_not_count(monkeypatch):
    timed, over = watch(monkeypatch, 100.0, 20.0, 23.0, 23.1, 23.2, 23.3, 23.4, 23.5, 23.6)
    assert timed.seconds == pytest.approx(0.1)
    assert not any(over)
    assert str(timed) == "0.1 s (8 timed)"


def test_it_is_over_when_it_took_long_enough_after_the_first(monkeypatch):
    timed, over = watch(monkeypatch, 100.0, 20.0, 22.0, 24.0, 26.0)
    assert over == [False, False, False, True]
    assert timed.seconds == 2.0


def test_slow_ones_are_timed_three_times(monkeypatch):
    timed, over = watch(monkeypatch, 100.0, 30.0, 40.0, 50.0)
    assert over == [False, False, True]
    assert timed.seconds == 10.0


def test_none_is_begun_that_would_end_too_late(monkeypatch):
    timed, over = watch(monkeypatch, 100.0, 40.0, 75.0)
    assert over == [False, True]  # it would end at 110
    assert timed.seconds == 35.0


def test_a_slow_first_one_is_followed_by_another_while_there_is_time(monkeypatch):
    timed, over = watch(monkeypatch, 100.0, 90.0, 91.0)
    assert over[0] is False
    assert timed.seconds == 1.0


def test_if_the_first_took_all_the_time_that_is_what_is_known(monkeypatch):
    timed, over = watch(monkeypatch, 10.0, 30.0)
    assert over == [True]
    assert timed.seconds == 30.0
    assert "the first" in str(timed)


def test_a_clock_runs_down(monkeypatch):
    now = iter([100.0, 110.0, 120.0, 120.0, 200.0])
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    made = Clock(60.0)
    assert made.left == 50.0
    assert made.until(0.5) == 140.0
    assert made.left == 0.0
