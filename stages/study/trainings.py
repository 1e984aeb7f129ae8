"""The trainings that an experiment needs, and which of them are the same in another.

DVC's cache knows this exactly, but only once a stage is about to run. Before, keys made of all that
decides a training tell what a study costs, and who may run at the same time as whom. A wrong key
would make the one estimate wrong, or a training run twice; never a result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

IMAGES = {  # to train on
    "characters": 2_040,
    "characters_validation": 1_632,
    "digits": 1_437,
    "cifar10": 50_000,
    "stl10": 100_000,
    "imagenet": 1_281_167,
}


class Training(NamedTuple):
    key: str  # of all that decides it
    epochs: int
    images: int | None  # rows of an epoch of vanilla; None if not known before `prepare`

    @property
    def rows(self) -> int | None:
        """Epochs x images: of what is counted, nearly all of the cost."""
        return None if self.images is None else self.epochs * self.images


def images(data: Mapping[str, Any]) -> int | None:
    """How many images are trained on, given the section `data` of params.yaml."""
    known, limit = IMAGES.get(data["name"]), data["limit"]
    return min(known, limit) if known and limit else known or limit


def trainings(
    params: Mapping[str, Any], until: str | None, code: Mapping[str, str] | None = None
) -> dict[str, Training]:
    """The trainings of an experiment by DVC's name of their stage, in an order that they can have.

    `params` are a whole file's; `until` is the last stage, if not all run; `code` has a
    digest of the code that trains by a method.
    """
    sampler, arms, methods = params["sampler"], params["pretrain"], params["methods"]
    many = images(params["data"])
    common = [params["data"], params["seed"], params["views"]]

    def by(section: Mapping[str, Any]) -> list[object]:
        method = section["method"]
        return [*common, section, methods[method], code and code[method]]

    found: dict[str, Training] = {}
    own = key(*by(sampler))
    if sampler["checkpoint"] is None:
        found["sampler"] = Training(own, sampler["epochs"], many)
    if until:
        return found
    warm = arms["start"] == "sampler"
    course = [*by(arms), own if warm else None]
    pairs = [own, params["embed"], params["sepp"]]
    left = arms["epochs"] - (sampler["epochs"] if warm else 0)
    for seed in params["seeds"]:
        for arm in params["arms"]:
            extra = [] if arm == "vanilla" else [arm, *pairs]
            found[f"pretrain@{arm}-{seed}"] = Training(key(*course, seed, *extra), left, many)
        keys = {arm: found[f"pretrain@{arm}-{seed}"].key for arm in params["arms"]}
        for place, one in enumerate(params["rounds"]):
            keys[one["name"]] = key(keys[one["start"]], one, *course, *pairs)
            stage = f"pretrain_again@round{place}-{seed}"
            found[stage] = Training(keys[one["name"]], arms["epochs"] - one["at"], many)
    return found


def distinct(every: Iterable[Training]) -> list[Training]:
    """Each training once."""
    return list({training.key: training for training in every}.values())


def total(every: Iterable[Training]) -> int | None:
    """The rows of all of them; None where they are not known of each."""
    rows = [training.rows for training in every]
    return None if None in rows else sum(rows)


def key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
