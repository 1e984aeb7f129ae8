import numpy as np
import pytest

from stages.common.errors import SeppError
from stages.common.images import ImageStore
from stages.common.intervals import wilson
from stages.common.judged import (
    Answer,
    estimate,
    merge,
    read_answers,
    resolve,
    write_answers,
)
from stages.mining.tally import strata_of
from tests.made import packed_store


def answer(anchor: int, positive: int, said: str, store: ImageStore, judge: str = "a") -> Answer:
    keys = store.key(anchor), store.key(positive)
    return Answer(anchor, positive, *keys, 0.95, said, judge, "f00")


def test_read_as_written(tmp_path):
    path = tmp_path / "labels.csv"
    given = [
        Answer(1, 2, "aa", "bb", 0.93125, "yes", "me", "f00"),
        Answer(3, 1, "cc", "aa", 0.9, "unsure", 'Doe, "J"', "f00"),
    ]
    write_answers(path, given)
    assert read_answers(path) == given
    write_answers(path, [])
    assert read_answers(path) == read_answers(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,2,a,b,0.9,maybe,,f", r"labels.csv, line 3: answer 'maybe': needs to be one of yes, no"),
        ("1,x,a,b,0.9,yes,,f", "line 3: invalid literal .*'x'; correct the line, or remove it"),
        ("1,2", "line 3: .* correct the line"),
        ("1,2,a,b,0.9,yes", "line 3: has another number of columns"),
        ("1,2,a,b,0.9,yes,,f,more", "line 3: has another number of columns"),
        ("1,2,a,b,nan,yes,,f", "line 3: similarity nan: needs to be a number"),
        ('1,2,a,b,0.9,yes,"me,f', "unexpected end of data; correct the line"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    path = tmp_path / "labels.csv"
    write_answers(path, [Answer(1, 2, "a", "b", 0.9, "yes", "", "f")])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(SeppError, match=said):
        read_answers(path)


def test_another_table_is_named(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("anchor,positive\n1,2\n")
    with pytest.raises(SeppError, match="has no column anchor_id, positive_id, similarity"):
        read_answers(path)


def test_answers_stay_with_the_content_of_images(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(6, 4, 4, 3), dtype=np.uint8)
    before = packed_store(tmp_path / "before", pixels)
    given = [
        answer(0, 1, "yes", before),
        answer(4, 2, "no", before),
        answer(5, 3, "unsure", before),
    ]
    assert resolve(given, before).anchor.tolist() == [0, 2]
    after = packed_store(tmp_path / "after", pixels[[3, 1, 0, 2, 5]])  # image 4 is gone
    verdicts = resolve(given, after)
    assert (verdicts.anchor.tolist(), verdicts.positive.tolist()) == ([1], [2])
    assert (verdicts.same.tolist(), verdicts.lost) == ([1.0], 1)


def test_images_of_one_content_stay_apart(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(5, 4, 4, 3), dtype=np.uint8)
    pixels[3] = pixels[1]
    store = packed_store(tmp_path, pixels)
    said = ((1, 3, "yes"), (1, 4, "no"), (3, 4, "yes"))
    verdicts = resolve([answer(*pair, store) for pair in said], store)
    ends = list(zip(verdicts.anchor.tolist(), verdicts.positive.tolist(), strict=True))
    assert ends == [(1, 3), (1, 4), (3, 4)]
    assert (verdicts.same.tolist(), verdicts.lost) == ([1, 0, 1], 0)


def test_several_people_on_one_pair_are_averaged(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(3, 4, 4, 3), dtype=np.uint8)
    store = packed_store(tmp_path, pixels)
    votes = [
        answer(0, 1, "yes", store),
        answer(1, 0, "no", store, "b"),
        answer(0, 1, "yes", store, "c"),
    ]
    verdicts = resolve(votes, store)
    assert verdicts.same.tolist() == [pytest.approx(2 / 3)]


def test_strata_have_five_answers_each():
    asked = np.array([1, 0, 3, 2, 0, 4, 1, 9])
    assert merge(asked) == [(7, 8), (5, 7), (0, 5)]
    assert merge(np.array([1, 1])) == [(0, 2)]
    assert merge(np.zeros(3)) == []


def test_solved_by_hand():
    pairs, asked, yes = np.array([60.0, 40]), np.array([6.0, 8]), np.array([3.0, 8])
    share = 0.6 * 0.5 + 0.4 * 1
    low, high = 4 / 8, 9 / 10  # smoothed
    middle = 0.6 * low + 0.4 * high
    variance = 0.36 * low * (1 - low) / 5 + 0.16 * high * (1 - high) / 7
    trials = middle * (1 - middle) / variance
    assert estimate(pairs, yes, asked) == pytest.approx((share, *wilson(share * trials, trials)))
    assert estimate(pairs, yes * 0, asked * 0) is None


@pytest.mark.parametrize("shape", ["rising", "high", "low", "steep"])
def test_the_interval_holds_the_truth_as_often_as_it_says(shape):
    """40 answers, drawn as the page does: strata in turn, pairs at random."""
    rng = np.random.default_rng(0)
    pairs = np.exp(-np.arange(200) / 40) * 1000
    truth = {
        "rising": np.linspace(0.3, 0.95, 200), "high": np.full(200, 0.97),
        "low": np.full(200, 0.1), "steep": np.repeat([0.5, 1.0], 100),
    }[shape]  # fmt: skip
    share = (pairs * truth).sum() / pairs.sum()
    strata = strata_of(pairs)
    held = 0
    for _ in range(1000):
        asked, yes = np.zeros((2, 200))
        for turn in range(40):
            first, stop = strata[turn % len(strata)]
            cell = first + rng.choice(stop - first, p=pairs[first:stop] / pairs[first:stop].sum())
            asked[cell] += 1
            yes[cell] += rng.random() < truth[cell]
        _, low, high = estimate(pairs, yes, asked)
        held += low <= share <= high
    assert held > 920  # of 950, with a binomial error of 14 at two deviations
