"""What a plan says of itself: at the head of params.yaml, and on the terminal."""

from __future__ import annotations

import math
import textwrap

from rich import box
from rich.console import Console
from rich.table import Table

from stages.common.intervals import Z
from stages.recipe.choose import budget_for, fewest_rows, least
from stages.recipe.duration import budget_of, spoken
from stages.recipe.images import Images
from stages.recipe.machine import Machine
from stages.recipe.plan import ARMS, Plan

WIDTH = 96
FEW = 500  # training images, of which an encoder sees too little of the world
FEW_TESTS = 200  # test images below which an accuracy is known to less than 7 points


def header(plan: Plan, budget: float) -> list[str]:
    """Lines of the comment at the head of params.yaml."""
    paragraphs = [
        f"Written by `sepp preset auto --data {plan.images.name} --budget {budget_of(budget)}`; "
        "every leaf may be changed.",
        *facts(plan),
        f"Expected: {expected(plan)}.",
        *warnings(plan),
    ]
    return [line for text in paragraphs for line in textwrap.wrap(text, WIDTH)]


def facts(plan: Plan) -> list[str]:
    """What was found, and what was chosen for it."""
    setting, network = plan.setting, plan.setting.network
    if setting.resize:
        kept = f"kept as squares of {setting.stored} pixels, without the borders (data.resize)"
    else:
        kept = "kept as they are" if setting.packed else "decoded anew for each view"
    return [
        f"Images: {described(plan.images)}; {kept}.",
        f"Machine: {plan.machine}.",
        f"Chosen: {network.backbone} on views of {network.view} pixels, by {setting.method}; "
        f"{plan.epochs} epochs of {plan.steps} steps, of {setting.batch} images each. Half of them "
        "are the sampler's, with which all arms go on (a warm start). "
        f"{len(ARMS)} arms, {len(plan.seeds)} seed{'s' * (len(plan.seeds) > 1)}.",
    ]


def expected(plan: Plan) -> str:
    each = (
        f"{line.stage} {f'{line.runs} x ' * (line.runs > 1)}{spoken(line.seconds)}"
        for line in plan.expected
    )
    return f"{spoken(plan.seconds)} in all: {', '.join(each)}"


def described(images: Images) -> str:
    sample = images.sample
    low, high = sample.edges
    edges = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    classes = f"{images.classes:,} classes" if images.classes else "no labels"
    held = f" (data.split: {images.split})" if images.split else ""
    held += f", {images.unused:,} more to test without a label" if images.unused else ""
    about = "about " if images.estimated else ""
    return (
        f"{about}{images.train:,} of {images.name} to train on and {images.test:,} to test{held}, "
        f"{classes}, {'grey' if sample.grey else 'in colour'}, shorter edge {edges} pixels in "
        f"{sample.count:,} of them"
    )


def warnings(plan: Plan) -> list[str]:
    """What a person should know before the long run."""
    images, machine, told = plan.images, plan.machine, []
    if images.train < FEW:
        told.append(
            f"{images.train:,} images to train on are few: expect little of an encoder that has "
            "seen no others; unlabelled ones of the same kind help, or sampler.weights and "
            "pretrain.weights to start from."
        )
    if plan.rows < fewest_rows(images.train):
        enough = least(plan)
        told.append(
            f"Too short to learn much: {plan.epochs} epochs, of {enough.epochs} at least; "
            f"--budget {budget_for(enough)} has them."
        )
    if images.evaluable and len(plan.seeds) == 1:
        told.append("One seed does not tell whether a gain is one: seeds: [0, 1, 2] does.")
    if images.evaluable and images.test < FEW_TESTS:
        told.append(
            f"{images.test} test images are few: they tell an accuracy to within "
            f"{_points(images.test)} points or so, {FEW_TESTS} to within {_points(FEW_TESTS)}."
        )
    if not images.evaluable:
        told.append(
            "Without labels of two classes nothing is evaluated; people may judge pairs, with "
            "`sepp label`."
        )
    if images.sample.broken:
        told.append(
            f"Of {images.sample.broken + images.sample.count} images looked at, those that do not "
            f"decode ({images.sample.broken}) are not counted: data.skip_broken is true, which "
            "leaves such images out."
        )
    if machine.busy:
        told.append(_busy(machine))
    if machine.there > machine.devices:
        told.append(
            f"{machine.there} GPUs are there, of which SEPP_DEVICES uses {machine.devices}: with "
            f"`export SEPP_DEVICES={machine.there}` before, this command plans for all."
        )
    return told


def _points(tests: int) -> int:
    """Percentage points to either side that the 95 % interval of a middling accuracy has."""
    return round(100 * Z * 0.5 / math.sqrt(tests))


def _busy(machine: Machine) -> str:
    cores = f"{machine.all_cores} core{'s' * (machine.all_cores > 1)}"
    return (
        f"This machine is busy with other work (load {machine.load:.1f} on {cores}), which is in "
        "all of these times: it takes less when that is over."
    )


def print_plan(plan: Plan) -> None:
    _print([*facts(plan), _table(plan), *warnings(plan)])


def print_least(plan: Plan) -> None:
    """What `plan`, the least that learns something, takes, where even that is too long."""
    busy = [_busy(plan.machine)] if plan.machine.busy else []
    found = facts(plan)
    found[-1] = found[-1].replace("Chosen:", "At least:", 1)
    _print([*found, _table(plan), *busy])


def _print(told: list[str | Table]) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    for part in told:
        console.print(part)


def _table(plan: Plan) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage")
    for name in ("runs", "each", "together"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in plan.expected:
        each = spoken(line.seconds)
        table.add_row(line.stage, str(line.runs), each, spoken(line.runs * line.seconds))
    table.add_section()
    table.add_row("whole", "", "", spoken(plan.seconds))
    return table
