"""A rehearsal: the same experiments with fewer epochs, fewer images, and a small network.

It shows that a study runs to its end, and how its page will look. Its numbers tell nothing of the
real ones, which is why everything that is made of it is called a rehearsal.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

LEAST_IMAGES = 512  # above every queue below, and enough for a batch of each kind
BACKBONE = "resnet10-w16"
AT_MOST = {
    "batch_size": 64,
    "queue": 256,
    "bn_splits": 2,
    "support_views": 2,  # a step's keys then fit the queue
    "local_views": 2,
    "prototypes": 128,
    "hidden_dim": 128,
    "output_dim": 64,
    "bottleneck_dim": 64,
    "expander_dim": 128,
    "projection_dim": 128,
    "prediction_dim": 128,
    "image_size": 32,
    "local_size": 16,
    "knn_k": 20,
}
PAIRS_PER_IMAGE = 4.0  # at most: an encoder that has learnt nothing finds nearly all pairs alike


def shrink(params: dict[str, Any], scale: float, images: int | None) -> dict[str, Any]:
    """`params`, a whole file's, of a rehearsal at `scale` in (0, 1), of a set of so many images.

    Epochs keep their order: where a training hands over to another, it still does.
    """
    small = copy.deepcopy(params)
    limit = max(LEAST_IMAGES, round((images or 0) * scale))
    small["data"]["limit"] = min(limit, images or limit)
    for section in (small["views"], *small["methods"].values(), small["linear_eval"]):
        _cap(section)
    for section in (small["sampler"], small["pretrain"]):
        _cap(section)
        section |= {"backbone": BACKBONE, "stem": "cifar", "weights": None}  # none are of that
    small["watch"] = [s for s in small["watch"] if small[s].get("checkpoint")]
    if isinstance(small["embed"]["k"], int):
        small["embed"]["k"] = min(small["embed"]["k"], small["data"]["limit"])
    most = round(PAIRS_PER_IMAGE * small["data"]["limit"])
    small["sepp"]["max_pairs"] = min(small["sepp"]["max_pairs"] or most, most)
    _shorten(small, scale)
    return small


def _cap(section: dict[str, Any]) -> None:
    section |= {key: min(section[key], most) for key, most in AT_MOST.items() if key in section}


def _shorten(small: dict[str, Any], scale: float) -> None:
    """All epochs of `small`, in place."""
    sampler, arms, linear = small["sampler"], small["pretrain"], small["linear_eval"]
    before = [sampler["epochs"]] if arms["start"] == "sampler" else []
    course = shorter([*before, *arms["handover"], arms["epochs"]], scale)
    arms |= {"epochs": course[arms["epochs"]], "handover": [course[e] for e in arms["handover"]]}
    small["rounds"] = [{**one, "at": course[one["at"]]} for one in small["rounds"]]
    own = shorter([sampler["epochs"], sampler["of_epochs"] or sampler["epochs"]], scale)
    if before:
        own = course
    sampler["epochs"] = own[sampler["epochs"]]
    if sampler["of_epochs"] is not None:
        sampler["of_epochs"] = own[sampler["of_epochs"]]
    for section in (linear, *(small[name] for name in small["evaluations"])):
        _shorten_schedule(section, scale)
    for block in small["methods"].values():
        for key in block:
            if key.endswith(("_epochs", "queue_epoch")):
                block[key] = round(block[key] * scale)


def _shorten_schedule(section: dict[str, Any], scale: float) -> None:
    """The epochs, or else the iterations, of an evaluation that has some, and its milestones."""
    length = next((key for key in ("epochs", "iterations") if key in section), None)
    if length:
        milestones = section.get("milestones", [])
        course = shorter([*milestones, section[length]], scale)
        section |= {length: course[section[length]]}
        if milestones:
            section["milestones"] = [course[epoch] for epoch in milestones]


def shorter(epochs: Iterable[int], scale: float) -> dict[int, int]:
    """What becomes of each of `epochs`: times `scale`, at least 1, in the same order."""
    found: dict[int, int] = {}
    for epoch in sorted(set(epochs)):
        found[epoch] = max(round(epoch * scale), max(found.values(), default=0) + 1)
    return found
