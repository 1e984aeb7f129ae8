"""Where rounds have their files, and the options by which a command is told of one.

A round goes on from the state that an arm, or an earlier round, has left behind after an epoch:
with it pairs are mined again, on which its training goes on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from stages.common.errors import SeppError


def left_after(epoch: int | str) -> str:
    """Name of the folder, within an encoder's, of its state after `epoch`; ``*`` for any."""
    return f"epoch-{epoch}"


class Again(NamedTuple):
    """One seed's round: pairs are mined again, with what an arm has become."""

    name: str  # of the round
    seed: int

    @property
    def item(self) -> str:
        """As its files are called."""
        return f"{self.name}-{self.seed}"

    @property
    def folder(self) -> Path:
        """Of its embeddings and pairs."""
        return Path("data/rounds", self.item)


class From(NamedTuple):
    """The state that an arm or round has left behind."""

    start: str  # name of the arm or round
    at: int  # epoch

    def encoder(self, seed: int) -> Path:
        return Path(f"models/{self.start}-{seed}", left_after(self.at))


def again_options(function: Callable[..., None]) -> Callable[..., None]:
    """`--round` and `--seed`, together or not at all, as the argument `again`."""

    @click.option("--round", "name", help="Mine again: name of the round in params.yaml.")
    @click.option("--seed", type=int, help="With --round: seed of its training.")
    @functools.wraps(function)
    def wrapped(name: str | None, seed: int | None, **rest: object) -> None:
        function(again=_all_or_none(Again, name, seed, "--round", "--seed"), **rest)

    return wrapped


def from_options(function: Callable[..., None]) -> Callable[..., None]:
    """`--start` and `--at`, together or not at all, as the argument `origin`."""

    @click.option("--start", help="Go on from this arm or round.")
    @click.option("--at", type=int, help="With --start: the epoch after which.")
    @functools.wraps(function)
    def wrapped(start: str | None, at: int | None, **rest: object) -> None:
        function(origin=_all_or_none(From, start, at, "--start", "--at"), **rest)

    return wrapped


def _all_or_none(kind: type, first: object, second: object, *names: str) -> object:
    if (first is None) != (second is None):
        raise SeppError(f"{' and '.join(names)} go together: give both, or neither")
    return None if first is None else kind(first, second)
