"""A case: what it is called, what it does, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from tests.faults.bench import Bench


class Told(NamedTuple):
    """What a case has seen, all of it as promised."""

    times: int  # how often something was done to the pipeline
    happened: str


class Skipped(Exception):
    """Why this machine cannot try a case."""


@dataclass(frozen=True)
class Outcome:
    case: str
    told: Told
    ok: bool | None  # None: skipped


@dataclass(frozen=True)
class Case:
    name: str
    work: Callable[[Bench], Told]
    quick: bool  # whether --quick has it

    def run(self, bench: Bench) -> Outcome:
        """Whatever a case raises but Skipped is a promise that was not kept."""
        try:
            return Outcome(self.name, self.work(bench), True)
        except Skipped as reason:
            return Outcome(self.name, Told(0, f"skipped: {reason}"), None)
        except Exception as error:
            line = " ".join(str(error).split())[:300]
            return Outcome(self.name, Told(0, f"{type(error).__name__}: {line}"), False)


CASES: list[Case] = []


def case(
    name: str, quick: bool = False, **arguments: Any
) -> Callable[[Callable[..., Told]], Callable[..., Told]]:
    """Makes a function a case; with other `arguments` it may be several."""

    def register(work: Callable[..., Told]) -> Callable[..., Told]:
        CASES.append(Case(name, partial(work, **arguments) if arguments else work, quick))
        return work

    return register


def table(outcomes: list[Outcome]) -> str:
    """In Markdown."""
    words = {True: "yes", False: "**no**", None: "–"}
    rows = [("case", "times", "what happened", "ok"), ("---", "---:", "---", "---")]
    rows += [(o.case, str(o.told.times), o.told.happened, words[o.ok]) for o in outcomes]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
