"""Train one arm: the method on its combined rows, from random weights or given ones, or on from
where the sampler is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common import sections, weights
from stages.common.command import arm_option, command, params_option, seed_option
from stages.common.cost import cost_path
from stages.common.images import ImageStore
from stages.common.params import StageParams, check_arm, left_by
from stages.common.rounds import From, from_options
from stages.common.sections import Views
from stages.common.state import TrainingState
from stages.ssl.batches import read_rows
from stages.ssl.export import record
from stages.ssl.preflight import check_trainings
from stages.ssl.pretraining import train, training_fingerprint

MODULE = "stages.pretrain"
SCRATCH = Path("models/scratch")  # an empty folder, in DVC's place of an encoder to start from


@dataclass(frozen=True)
class Inputs:
    combined: Path
    weights: Path = Path("data/weights/pretrain.json")
    manifest: Path = Path("data/manifest.parquet")
    images: Path = Path("data/images.npy")
    start: Path = SCRATCH  # or models/sampler

    @classmethod
    def of(cls, arm: str, seed: int, start: Path = SCRATCH) -> Inputs:
        return cls(Path(f"data/combined/{arm}-{seed}.parquet"), start=start)


@dataclass(frozen=True)
class Outputs:
    encoder: Path
    history: Path
    cost: Path

    @classmethod
    def of(cls, arm: str, seed: int) -> Outputs:
        name = f"{arm}-{seed}"
        history = Path(f"reports/plots/pretrain/{name}.csv")
        return cls(Path(f"models/{name}"), history, cost_path("pretrain", name))


class Params(StageParams):
    views: Views
    pretrain: sections.Pretrain
    methods: dict[str, dict[str, Any]]  # of which only pretrain's own is read


def run(
    settings: Params,
    inputs: Inputs,
    outputs: Outputs,
    arm: str,
    seed: int,
    state: TrainingState,
) -> int:
    """Train on the rows of `inputs.combined`; with `state`, an interrupted training continues.
    Returns how many rows it was trained on, not counting those before it."""
    weights.check_record(inputs.weights, settings.pretrain.given)
    encoder, history = train(
        section="pretrain",
        training=settings.pretrain,
        method_values=settings.methods[settings.pretrain.method],
        views=settings.views,
        rows=read_rows(inputs.combined),
        store=ImageStore(inputs.manifest, inputs.images),
        seed=seed,
        state=state,
        label=f"pretrain {outputs.encoder.name}",
        continues=None if inputs.start == SCRATCH else inputs.start,
        leave_at=left_by(arm, settings.pretrain),
    )
    record(encoder, history, outputs.encoder, outputs.history, state)
    return encoder.rows_seen


@command
@params_option
@arm_option
@seed_option
@from_options
def main(params_file: Path, arm: str, seed: int, origin: From | None) -> None:
    """Train pretrain.method on the rows of one arm, with one seed.

    Reads data/combined/<arm>-<seed>.parquet; writes models/<arm>-<seed> and its training curve.
    A killed training resumes where it last saved its state. A round goes on from what another arm,
    or round, had become at an epoch: `--arm round2 --seed 0 --start sepp --at 40`.
    """
    check_arm(params_file, arm)
    check_trainings(params_file)
    start = Path("models", Params.load(params_file).pretrain.start)
    inputs = Inputs.of(arm, seed, origin.encoder(seed) if origin else start)

    def current() -> str:
        settings = Params.load(params_file)
        files = [file for file in vars(inputs).values() if file != SCRATCH]
        return training_fingerprint(MODULE, settings, "pretrain", files, seed=seed)

    with TrainingState("pretrain", current) as state:
        outputs = Outputs.of(arm, seed)
        state.cost.images = run(Params.load(params_file), inputs, outputs, arm, seed, state)
        state.cost.write(outputs.cost)


if __name__ == "__main__":
    main()
