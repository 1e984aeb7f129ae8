"""The comparison on a terminal: whole, and within 100 columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stages.comparison.differences import flatten
from stages.comparison.experiments import Experiment
from stages.comparison.revisions import LeftOut
from stages.comparison.rows import Comparison, compare
from stages.comparison.table import print_comparison
from tests.comparison.checkout import summary
from tests.conftest import REPOSITORY, YAML_SAFE

PAGE = Path("reports/compare.html")
LONG = "whiten-neighbours-10-pairs-per-image-4.0_of-a-sampler-of-thirty-epochs/and-so-on-and-on"
WORD = "w" * 130  # without a place to break


def preset(name: str) -> dict:
    return flatten(YAML_SAFE.load((REPOSITORY / f"stages/presets/{name}.yaml").read_text()))


def made(*experiments: Experiment, left_out: tuple = (), head: str | None = None) -> Comparison:
    return compare(experiments, left_out, head)


def printed(capsys, found: Comparison) -> str:
    print_comparison(found, PAGE)
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [100, 80, 40])
def test_no_line_is_longer_than_100_columns_and_nothing_is_cut_off(capsys, monkeypatch, columns):
    """Where stdout is no terminal, its width does not matter."""
    monkeypatch.setenv("COLUMNS", str(columns))
    every = [preset(name) for name in ("characters", "imagenet", "cifar10", "stl10")]
    every[1]["rounds"] = [{"name": "round2", "start": "sepp", "at": 35, "sepp": {"min": 0.5}}] * 4
    every[2]["sampler.checkpoint"] = f"/data/{WORD}/models/vanilla-0"
    results = [
        summary(),
        summary(1_234_567_890, 0.123, -12.5, steps=1_000_000),
        summary(12, None, None),
        summary(419_189, 1.0, 33.3, arm="random", seeds=1),
    ]
    labels = ("HEAD, workspace", LONG, WORD, "short")
    found = made(
        *(
            Experiment(name, params, result, "data/pairs.parquet, sepp.min and 3 more", "a" * 40)
            for name, params, result in zip(labels, every, results, strict=True)
        ),
        left_out=(LeftOut(LONG, f"failed; `dvc queue logs {LONG}` says why"), LeftOut(WORD, "x")),
    )
    said = printed(capsys, found)
    assert max(map(len, said.splitlines())) <= 100
    assert "…" not in said
    whole = re.sub(r"\s", "", said)
    for text in ("1,234,567,890", "1,000,000", "x1.11e+03", "gainofrandom", "fromaaaaaaa"):
        assert text in whole
    assert said.count("w") >= 2 * len(WORD)


def test_names_are_broken_between_words(capsys):
    found = made(Experiment(LONG, preset("digits"), summary()))
    lines = [line.split("  ")[0].rstrip() for line in printed(capsys, found).splitlines()[2:6]]
    assert "".join(lines).startswith(LONG)
    parts = [line for line in lines if line and line in LONG]
    assert len(parts) > 1
    assert all(re.search(r"[-_/]$|on$", part) for part in parts), parts


BASE = "b" * 40
DIGITS = preset("digits")
OTHER = {**DIGITS, "sepp.min": 0.5}


def test_the_table(capsys):
    found = made(
        Experiment("HEAD", DIGITS, summary()),
        Experiment("a", OTHER, summary(9, 0.5, 3.0, steps=1170), None, BASE),
        Experiment("b", OTHER, summary(5, None, 0.3, seeds=1), "sepp.max", "c" * 40),
        left_out=(LeftOut("gone", "has no params.yaml"),),
        head=BASE,
    )
    said = printed(capsys, found)
    assert [line.rstrip() for line in said.splitlines()[2:10]] == [
        "HEAD                        3,938          80.0           +0.61           +1.23    900",
        "  min=0.97                         [75.0, 84.0]  [−0.64, +1.87]  [−1.28, +3.74]    x 1",
        "a                               9          50.0          +2.78*          +5.56*  1,170",
        "  min=0.5                          [45.0, 54.0]  [+2.07, +3.49]  [+4.14, +6.97]  x 1.3",
        "b                               5             –           +0.06           +0.12    900",
        "  from ccccccc                                                                     x 1",
        "  changed since, see below",
        "  min=0.5",
    ]
    told = " ".join(said.split())
    assert "The first row has all params that differ" in told
    assert "Gain: of sepp over vanilla" in told
    assert "The best of several owes something to chance" in told
    assert "b: these results are of other params, code or data than it has (changed since: " in told
    assert "b: the images of the pairs have no labels." in told
    assert "Left out: gone (has no params.yaml)." in told
    assert said.endswith("\nCharts: reports/compare.html\n")


def test_what_does_not_apply_is_not_said(capsys):
    alone = printed(capsys, made(Experiment("HEAD", DIGITS, summary())))
    assert "An experiment to set beside it: `dvc exp run -S" in alone
    for text in ("first row", "No param differs", "The best of several", "from ", "Left out"):
        assert text not in alone
    same = printed(capsys, made(*[Experiment(name, DIGITS, summary()) for name in "ab"]))
    assert "No param differs." in same
    assert "An experiment to set" not in same


def test_an_arm_is_named_where_there_are_several_and_one_without_gain_has_dashes(capsys):
    results = (summary(gain=None), summary(), summary(arm="random"))
    said = printed(capsys, made(*(Experiment("x", DIGITS, result) for result in results)))
    assert re.search(r"(?m)^x +3,938 +80.0 +– +– +900$", said)
    assert "gain of vanilla" not in said
    assert "\n  gain of sepp " in said
    assert "\n  gain of random " in said
    assert "Gain: of the arm that a row names over vanilla" in " ".join(said.split())


def test_who_judged_is_said(capsys):
    result = summary()
    result["pairs"] |= {"chance": None, "note": "by 40 answers"}
    said = " ".join(printed(capsys, made(Experiment("x", DIGITS, result))).split())
    assert "Right: pairs whose labels agree, or that people judge right, with" in said
    assert "x: by 40 answers." in said
    assert "judge" not in printed(capsys, made(Experiment("x", DIGITS, summary())))
