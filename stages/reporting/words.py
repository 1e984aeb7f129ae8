"""What may honestly be said of the numbers in a summary."""

from __future__ import annotations

import re
from statistics import stdev

from markupsafe import Markup

from stages.reporting.statistics import ALPHA, MOST_SEEDS, detectable, seeds_needed
from stages.reporting.summary import BASELINE, BOUND

SAME_STEPS = 0.005  # shares of vanilla's steps by which an arm may differ unmarked


def featured(summary: dict) -> str:
    """The arm that the headline is about: sepp, else the first that is not the baseline."""
    arms = [arm for arm in summary["arms"] if arm != BASELINE]
    return "sepp" if "sepp" in arms else arms[0] if arms else BASELINE


def headline(summary: dict) -> str:
    """The result in a sentence or two."""
    arm = featured(summary)
    numbers, gain = summary["arms"][arm], summary["gain"].get(arm)
    if numbers["top1_mean"] is None:
        return f"The arms were trained but not evaluated: {numbers['note']}."
    if gain is None:
        only = f"Arm {arm} reaches {percent(numbers['top1_mean'])} linear top-1"
        return f"{only}; a gain needs vanilla and another arm in arms of params.yaml."
    pairs = summary["pairs"]["count"]
    subject = f"Training on {pairs:,} semantic pairs" if arm == "sepp" else f"Arm {arm}"
    linear = gain["linear"]
    base, reached = (percent(summary["arms"][name]["top1_mean"]) for name in (BASELINE, arm))
    if significant(linear):
        verb = "raised" if linear["mean"] > 0 else "lowered"
        change = (
            f"{verb} linear top-1 by {abs(linear['mean']):.2f} points, from {base} to {reached}"
        )
        return f"{subject}{steps_mark(gain)} {change}: {verdict(linear)}."
    change = f"{reached} linear top-1, {signed(linear['mean'])} points to vanilla's {base}"
    return f"{subject}{steps_mark(gain)}: {change}; {verdict(linear)}."


def significant(gain: dict) -> bool:
    """Whether the (Holm-corrected) p of a gain in linear or knn is below 5 %."""
    return gain["p"] is not None and gain["p"] < ALPHA


def interval(gain: dict) -> str | None:
    """The 95 % interval of a gain, in points; None if there is none."""
    if gain["low"] is None:
        return None
    return f"{signed(gain['low'])} to {signed(gain['high'])}"


def verdict(gain: dict) -> str:
    """Whether a gain is more than chance, and where that cannot be told, what it would take."""
    if gain["n"] == 1:
        return "one seed, so no interval: this may be chance"
    if gain["p"] is None:
        return (
            f"all {gain['n']} seeds differ by the same, so there is no interval: so few test "
            "images or seeds cannot tell it from chance"
        )
    found = f"95 % interval {interval(gain)}; {_p(gain['p'])}, {gain['n']} paired seeds"
    if significant(gain):
        return f"significant at 5 % ({found})"
    return f"not significant at 5 % ({found})"


def sensitivity(gain: dict, arms: int = 1) -> str | None:
    """What this design could have seen, and what it would take to see the effect observed: of a
    gain, one of `arms` compared, that is not significant. None where there is nothing to say."""
    if gain["p"] is None or significant(gain):
        return None
    deviation = stdev(gain["differences"])
    seen = (
        f"{gain['n']} seeds that vary as these do find a true difference of "
        f"{detectable(deviation, gain['n'], arms):.2f} points or more (with a power of 80 %)"
    )
    needed = seeds_needed(gain["mean"], deviation, arms)
    many = (
        f"more than {MOST_SEEDS:,}" if needed is None else f"about {max(needed, gain['n'] + 1):,}"
    )
    few = f", as far as {gain['n']} seeds tell how much they vary"
    return f"{seen}; one of {abs(gain['mean']):.2f} points would take {many} seeds{few}"


def compared(summary: dict) -> int:
    """How many arms were compared with vanilla, over which p is corrected."""
    return max(1, sum(gain is not None for gain in summary["gain"].values()))


def share(of: dict) -> str:
    """A share of the oracle's gain, with its 95 % interval where it has one."""
    told = whole_percent(of["mean"])
    if of["low"] is None:
        return told
    return f"{told} (95 % interval {whole_percent(of['low'])} to {whole_percent(of['high'])})"


def shares(summary: dict) -> str | None:
    """How much of the oracle's gain each other arm reaches, in sentences; None if none ran."""
    told = []
    for name, title in (("linear", "linear"), ("knn", "kNN")):
        found = {
            arm: gain[name]["oracle_share"]
            for arm, gain in summary["gain"].items()
            if gain and "oracle_share" in gain[name]
        }
        arms = ", ".join(f"{arm} {share(of)}" for arm, of in found.items() if of)
        sure = any(of and of["low"] is not None for of in found.values())
        unsure = "" if sure else "the oracle's own gain is not established"
        if found:
            told.append(f"{title}: {'; '.join(filter(None, (arms, unsure)))}")
    return f"Share of the {BOUND}'s gain, {'. '.join(told)}." if told else None


def rows_seen(summary: dict, arm: str) -> str | None:
    """The rows that `arm` trained on, and for sepp and rounds the sampler's; None if not known."""
    rows, sampler = summary["arms"][arm]["rows_seen"], summary["sampler"]
    if rows is None:
        return None
    own = f"{rows:,}"
    if arm not in ("sepp", *summary["rounds"]) or sampler["continued"]:
        return own
    if sampler["rows_seen"] is None:
        return f"{own} + what the sampler's checkpoint was trained on, which is not known here"
    return f"{own} + the sampler's {sampler['rows_seen']:,}"


def cost(summary: dict) -> str | None:
    """The rows that every arm saw in all, in a sentence or two; None if not known."""
    arms: dict[str, list[str]] = {}  # by what is said of them
    for arm in summary["arms"]:
        if told := rows_seen(summary, arm):
            arms.setdefault(told, []).append(arm)
    if not arms:
        return None
    sampler, within, fair = summary["sampler"], "", ""
    if sampler["continued"] and sampler["rows_seen"]:
        within = f", the sampler's {sampler['rows_seen']:,} among them"
    if sampler["equal_epochs"]:
        had = f"{sampler['equal_epochs']:g} epochs, not {summary['arms'][BASELINE]['epochs']}"
        fair = f" Vanilla of equal total training would have had {had}."
    told = "; ".join(f"{', '.join(names)} {rows}" for rows, names in arms.items())
    given = ", ".join(summary.get("weights", []))  # none, in one of an earlier version
    before = f" Not counted: what {given} saw, which trainings started from." if given else ""
    return f"Rows seen{within}: {told}.{fair}{before}"


def mined(pairs: dict) -> str:
    """How many pairs there are, how many images they cover and how many of them are right; of a
    round, means over its seeds."""
    found = f"{pairs['count']:,.0f} pairs, which cover {pairs['anchors_covered']:,.0f} images"
    return (
        found
        if pairs["accuracy"] is None
        else f"{found}, {percent(100 * pairs['accuracy'], 1)} right"
    )


def again(summary: dict, name: str) -> str:
    """With what a round's pairs were mined."""
    one = summary["rounds"][name]
    return f"mined again after epoch {one['at']}, with what {one['start']} had become"


def steps_mark(gain: dict) -> str:
    """How many times vanilla's optimiser steps the arm took, where that is not the same."""
    ratio = gain.get("steps")
    if ratio is None or abs(ratio - 1) <= SAME_STEPS:
        return ""
    return f" (x {ratio:.3g} steps)"


def chance_words(pairs: dict) -> str | None:
    """How the accuracy of the pairs stands to that of random ones; None without labels."""
    if pairs.get("accuracy") is None or pairs.get("chance") is None:
        return None
    chance = f"{percent(100 * pairs['chance'], 1)} by chance"
    if pairs["accuracy_high"] <= pairs["chance"]:
        return f"no better than chance ({chance})"
    if pairs["accuracy_low"] <= pairs["chance"]:
        return f"not shown to be better than chance ({chance})"
    return chance


def by_answers(pairs: dict) -> bool:
    """Whether the accuracy of the pairs is what people's answers tell, and not labels."""
    return pairs["accuracy"] is not None and pairs.get("chance") is None


def right_words(pairs: dict) -> str:
    """What it is that the accuracy counts: labels that agree, or else what people say."""
    return "right, as people judged" if by_answers(pairs) else "with equal labels"


def percent(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}\N{NO-BREAK SPACE}%"  # the sign stays with its number


def whole_percent(share: float) -> str:
    return f"{round(100 * share)}\N{NO-BREAK SPACE}%".replace("-", "−")


def signed(points: float | None) -> str:
    """A gain as people write it, with a true minus, which 0.00 has not; a dash for none."""
    return "–" if points is None else f"{round(points, 2) + 0.0:+.2f}".replace("-", "−")


def plus_minus(mean: float | None, deviation: float | None) -> str:
    """Mean ± deviation, with two digits; a dash for none."""
    if mean is None:
        return "–"
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def breakable(name: str) -> Markup:
    """A class's name, which may be broken between its words and nowhere else."""
    words = re.split(r"(?<=[_/])(?=[^\W\d_]|\()|(?<=[a-z])(?=[A-Z])", name)
    return Markup("<wbr>").join(words)


def _p(p: float) -> str:
    return (f"p = {p:.2g}" if p >= 0.001 else "p < 0.001").replace(" ", "\N{NO-BREAK SPACE}")
