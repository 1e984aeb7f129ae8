"""Images, machines and costs that plans are made for, without looking or timing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stages.recipe.images import Images, Sample
from stages.recipe.machine import Machine
from stages.recipe.plan import Costs, Setting

LAPTOP = Machine("cpu", "", 1, 0, cores=2, workers=2, memory=8.0, device_memory=0.0)
GPU = Machine("cuda", "A GPU", 1, 1, cores=16, workers=8, memory=128.0, device_memory=80.0)
EIGHT = replace(GPU, devices=8, there=8, cores=128, memory=1024.0)
SECONDS = {"resnet10-w16": 1.0, "resnet10-w32": 4.0, "resnet18": 25.0, "resnet50": 60.0}


def images(train: int, edge: int, **changes: Any) -> Images:
    """`train` photographs of differing sizes and four classes, and a tenth of that to test."""
    of_sample = {name: changes.pop(name) for name in Sample.__annotations__ if name in changes}
    sample = Sample(
        count=min(train, 256),
        broken=0,
        edge=edge,
        edges=(edge, 2 * edge),
        size=None,
        sure=train <= 256,
        grey=False,
        mean=(0.5, 0.5, 0.4),
        std=(0.25, 0.25, 0.26),
        decode=0.05,
    )
    facts = {
        "test": train // 10,
        "labelled": train,
        "classes": 4,
        "split": None,
        "no_labels": False,
    }
    return Images("imagefolder", train, **facts | changes, sample=replace(sample, **of_sample))


def measure_on(machine: Machine):
    """Costs as a laptop of two cores has them, or a GPU a hundred times as fast at steps."""

    def measure(setting: Setting) -> Costs:
        view, backbone, stem = setting.network
        rows = setting.batch / machine.devices
        pixels = (view / 64) ** 2 * (16 if stem == "cifar" else 1)
        step = 0.15 * SECONDS[backbone] * pixels * rows / 64 / (100 if machine.gpu else 1)
        return Costs(light=2, heavy=6, step=step, embed=step / 600, probe=0.1, compare=1e-9)

    return measure
