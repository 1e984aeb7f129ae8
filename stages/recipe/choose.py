"""Which network, batch, length and seeds fit the images, the machine, and the time there is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from stages.common.errors import DataError, SeppError
from stages.recipe.duration import budget_of, spoken
from stages.recipe.images import Images
from stages.recipe.machine import Machine
from stages.recipe.plan import Costs, Network, Plan, Setting

FEWEST = 32  # training images
SHARE = 0.8  # of the budget that is planned with: a machine is not always as fast
LONGEST = 800  # epochs: the paper's longest training
SHORTEST = 2  # epochs: one for the sampler, one for the arms
SEEDS = (0, 1, 2)  # the fewest that tell whether a gain is one
MANY = 100_000  # images from which on MoCo, whose queue is far below them, is the method
SMALL = 64  # pixels: images below are seen whole, by a network for small ones

Measure = Callable[[Setting], Costs | None]


class TooShort(SeppError):
    """A budget in which nothing can be trained; `least` is what one at least would be."""

    def __init__(self, budget: float, least: Plan) -> None:
        self.least = least
        super().__init__(
            f"--budget {budget_of(budget)}: too short for {least.images.train:,} training images "
            f"on this machine; --budget {budget_for(least)} is the least to learn something: "
            f"{spoken(least.seconds)} of work, and a reserve"
        )


def choose(images: Images, machine: Machine, budget: float, measure: Measure) -> Plan:
    """The largest network of which the budget (seconds) trains enough, else the smallest; with one
    seed where even of that three are too long.

    Args:
        measure: what a setting costs on this machine, None where there is no time to find out;
            asked from the cheapest on, until one is too dear.

    Raises:
        DataError: fewer images than a training takes.
        TooShort: a budget in which nothing can be trained; says the least.
    """
    if images.train < FEWEST:
        raise DataError(
            f"{images.name}: {images.train} training images, and contrasting them takes at least "
            f"{FEWEST}: add some to SEPP_DATA_ROOT"
        )
    seeds = SEEDS if images.evaluable else SEEDS[:1]
    best: Plan | None = None
    for network in networks(images, machine):
        chosen = setting(network, images, machine)
        costs = measure(chosen)
        if costs is None:
            break
        plan = longest(Plan(images, machine, chosen, costs, seeds, 0), budget)
        if best is None or plan.rows >= enough(images.train):
            best = plan
        if plan.rows < enough(images.train):
            break
    if best.rows < fewest_rows(images.train):
        best = longest(replace(best, seeds=SEEDS[:1]), budget)
    if best.epochs < SHORTEST:
        raise TooShort(budget, least(best))
    return best


def networks(images: Images, machine: Machine) -> list[Network]:
    """Those that fit the images' size and number, the cheapest first."""
    if images.sample.edge < SMALL:
        whole = max(8, images.sample.edge // 4 * 4)
        views = [whole * 3 // 4 // 4 * 4] * (whole >= 24) + [whole] * 3
        names = ["resnet10-w16"] * (whole >= 24) + ["resnet10-w16", "resnet10-w32", "resnet18"]
        return [Network(v, name, "cifar") for v, name in zip(views, names, strict=True)]
    ladder = [(64, "resnet10-w16"), (64, "resnet10-w32"), (96, "resnet18"), (128, "resnet18")]
    if machine.gpu and images.train >= MANY // 2:
        ladder.append((224, "resnet50"))
    return [Network(view, name, "imagenet") for view, name in ladder if view <= images.sample.edge]


def setting(network: Network, images: Images, machine: Machine) -> Setting:
    """How `network` is trained: batch, method, and the size at which images are kept."""
    batch = min(256 if machine.gpu else 64, 1024 // machine.devices) * machine.devices
    quarter = images.train // 4
    if batch > quarter:
        power = 1 << quarter.bit_length() - 1
        batch = max(1, power // machine.devices) * machine.devices
    method = "moco" if images.train >= MANY and machine.gpu else "simclr"
    stored, resize = kept(network.view, images, machine)
    pixels = stored**2 if resize or not images.sample.size else math.prod(images.sample.size)
    packed = _gib(pixels, images) <= machine.room
    return Setting(network, method, batch, stored, resize and packed, packed)


def kept(view: int, images: Images, machine: Machine) -> tuple[int, bool]:
    """Pixels of the edge at which images are kept, and whether each is made so large.

    Twice a view's, so that a crop of a fifth has about a view's pixels, but no larger than they
    are; where there is no room for that, as large as an evaluation takes them. Images that are
    alike and small stay as they are.
    """
    sample, twice = images.sample, 2 * view
    if sample.size and sample.edge <= twice:
        square = sample.size[0] == sample.size[1]
        return sample.edge, square and not sample.sure  # others would keep all from being packed
    edge = min(twice, sample.edge)
    return edge if _gib(edge**2, images) <= machine.room else min(
        edge, round(view * 256 / 224)
    ), True


def _gib(pixels: int, images: Images) -> float:
    """Of all images decoded, if each has so many pixels."""
    return images.kept * pixels * 3 / 2**30


def enough(images: int) -> int:
    """Rows of a training after which a larger network is worth its time: 100 epochs, and of few
    images so many more as make 200,000 rows, up to 800 epochs."""
    return max(100 * images, min(200_000, LONGEST * images))


def fewest_rows(images: int) -> int:
    """Rows below which little is learnt: 10 epochs; of few images 50,000 rows, up to 400 epochs."""
    return max(10 * images, min(50_000, LONGEST // 2 * images))


def least(plan: Plan) -> Plan:
    """The least of `plan` that learns something: one seed, and as few epochs as that takes."""
    epochs = math.ceil(fewest_rows(plan.images.train) / plan.images.train)
    return replace(plan, seeds=SEEDS[:1], epochs=epochs + epochs % 2)


def budget_for(plan: Plan) -> str:
    """The --budget that holds `plan`."""
    return budget_of(plan.seconds / SHARE)


def longest(plan: Plan, budget: float) -> Plan:
    """`plan` with as many epochs as `budget` has time for; 0 where it has none."""
    none, one = (replace(plan, epochs=epochs).seconds for epochs in (0, 2))
    each = (one - none) / 2  # seconds an epoch
    left = SHARE * budget - none
    epochs = max(0, min(LONGEST, int(left / each)))
    return replace(plan, epochs=epochs - epochs % 2)
