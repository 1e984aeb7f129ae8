"""What is edited, or goes away, while a stage runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from stages.common.images import ImageStore
from tests.conftest import write_folder_data, write_params
from tests.faults.bench import PARAMS, STAGES, Bench, bits
from tests.faults.cases import Told, case
from tests.faults.running import fails, finish

LEAVES: dict[str, dict[str, Any]] = {  # one that the stage reads, and another value
    "prepare": {"seed": 1},
    "sampler": {"sampler.batch_size": 8},
    "embed": {"embed.layer": "backbone"},
    "explore": {"sepp.shrinkage": 0.5},
    "mine": {"sepp.max_pairs": 50},
    "combine": {"sepp.lambda": 0.5},
    "pretrain": {"pretrain.batch_size": 8},
    "linear_eval": {"linear_eval.lr": 1.0},
    "report": {"seeds": [0, 1]},
}


def in_its_midst(stage: str, do: Callable[[], object]) -> Callable[[], None]:
    """For `start`: do something between the stage's reading of its params and its work."""

    def prepare() -> None:
        module = importlib.import_module(f"stages.{stage}")
        run = module.run

        def disturbed(*given: Any, **named: Any) -> Any:
            do()
            return run(*given, **named)

        module.run = disturbed

    return prepare


def edited(bench: Bench, stage: str) -> Told:
    folder = bench.results(f"edited-{stage}")
    finish(folder, stage)
    whole, params = bits(folder, stage), folder / "params.yaml"
    text = params.read_text()
    change = {**PARAMS, **LEAVES[stage]}
    line = fails(folder, stage, in_its_midst(stage, lambda: write_params(params, change)))
    assert "edited while this" in line, line
    assert "not recorded" in line, line
    params.write_text(text)
    finish(folder, stage)
    assert bits(folder, stage) == whole, "other bits"
    return Told(1, "refused in one line; with the edit undone, same bits")


for _stage in STAGES:
    case(f"params edited while it runs, {_stage}", quick=_stage == "mine", stage=_stage)(edited)


def unmounted(bench: Bench, stage: str) -> Told:
    """Images of a folder, which moves away when some of them have been read."""
    folder = bench.results(f"unmounted-{stage}")
    write_folder_data(folder)
    small = {"embed.k": 40, "data.limit": None, "sampler.epochs": 2, "pretrain.epochs": 2}
    write_params(folder / "params.yaml", {**PARAMS, **small})
    order = ("sampler", "embed", "mine", "combine", "pretrain", "linear_eval")
    for earlier in order[: order.index(stage) + 1]:
        finish(folder, earlier)
    whole, raw, away = bits(folder, stage), folder / "raw", folder / "away"

    def counting() -> None:
        read, seen = ImageStore.read, []

        def leaving(store: ImageStore, id: int) -> Any:
            seen.append(id)
            if len(seen) == 20:
                raw.rename(away)
            return read(store, id)

        ImageStore.read = leaving

    line = fails(folder, stage, counting)
    assert "no longer reads" in line, line
    away.rename(raw)
    finish(folder, stage)
    assert bits(folder, stage) == whole, "other bits"
    return Told(1, "one line names the image; mounted again, same bits")


for _stage in ("sampler", "embed", "pretrain", "linear_eval"):
    case(f"the data root goes away midway, {_stage}", stage=_stage)(unmounted)
