"""Work in threads keeps its order, and does not run ahead of who asks for it."""

from __future__ import annotations

import time

import pytest

from stages.common.threads import in_order


def test_results_come_in_the_order_of_the_items():
    def late(number: int) -> int:
        time.sleep(0.02 * (number % 3 == 0))
        return number * number

    assert list(in_order(late, range(20), threads=4, ahead=6)) == [n * n for n in range(20)]
    assert list(in_order(late, [], threads=1, ahead=1)) == []


def test_no_more_than_so_many_are_begun_before_their_turn():
    asked = []

    def items():
        for number in range(100):
            asked.append(number)
            yield number

    results = in_order(lambda number: number, items(), threads=2, ahead=5)
    assert next(results) == 0
    assert len(asked) == 6
    results.close()
    assert len(asked) == 6


def test_an_error_comes_when_its_turn_is():
    def work(number: int) -> float:
        return 1 / (number - 2)

    results = in_order(work, range(50), threads=3, ahead=10)
    assert [next(results), next(results)] == [-0.5, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
