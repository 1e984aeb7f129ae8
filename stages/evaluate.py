"""Evaluate one arm's encoder as one of `evaluations` does: a file of stages/evaluation.

What is fine-tuned is a copy, so that every evaluation starts from the encoder as it was trained.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from stages.common import artifacts, env
from stages.common.command import (
    arm_option,
    command,
    evaluation_option,
    params_option,
    seed_option,
)
from stages.common.cost import cost_path
from stages.common.errors import ArtifactError
from stages.common.images import ImageStore
from stages.common.param_file import EVALUATIONS, validate
from stages.common.params import StageParams, check_arm, evaluation_block
from stages.common.plugins import plugin, plugins
from stages.common.sections import Section
from stages.common.state import TrainingState, run_fingerprint
from stages.evaluation._outside import describe
from stages.ssl.encoder import Encoder, weights_digest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    encoder: Path
    listing: Path  # of what the evaluation reads from outside
    manifest: Path = Path("data/manifest.parquet")
    images: Path = Path("data/images.npy")

    @classmethod
    def of(cls, evaluation: str, arm: str, seed: int) -> Inputs:
        return cls(Path(f"models/{arm}-{seed}"), Path(f"data/evaluations/{evaluation}.json"))


@dataclass(frozen=True)
class Outputs:
    metrics: Path
    cost: Path  # which counts no images: an evaluation may be several trainings

    @classmethod
    def of(cls, evaluation: str, arm: str, seed: int) -> Outputs:
        name = f"{evaluation}/{arm}-{seed}"
        metrics = Path(f"reports/metrics/evaluations/{name}.json")
        return cls(metrics, cost_path("evaluations", name))


class Params(StageParams):
    """Nothing but the block of the evaluation, which its own file checks."""


def run(
    evaluation: str,
    settings: Section,
    inputs: Inputs,
    outputs: Outputs,
    arm: str,
    seed: int,
    state: TrainingState,
) -> None:
    """Evaluate `inputs.encoder`; where that cannot be, say why instead.

    Raises:
        AssertionError: the evaluation changed the encoder.
    """
    module = plugin("evaluation", evaluation)
    store = ImageStore(inputs.manifest, inputs.images)
    encoder = Encoder.load(inputs.encoder)
    before = weights_digest(encoder)
    result = module.evaluate(encoder, store, settings, seed, state)
    if weights_digest(encoder) != before:
        raise AssertionError(f"{evaluation} changed the encoder, which others start from")
    if "skipped" in result:
        log.warning("%s %s-%d: not evaluated: %s", evaluation, arm, seed, result["skipped"])
    # As lists, which DVC leaves out of `dvc metrics diff`.
    titles = module.metrics(settings).items()
    reported = [[name, title] for name, title in titles if name in result]
    state.check()
    if env.is_first():
        about = {"arm": arm, "seed": seed, "reported": reported}
        artifacts.write_json(outputs.metrics, {**about, **result})
    state.clear()


def _settings(params_file: Path, evaluation: str) -> Section:
    """The evaluation's block, checked by its own file; raises ParamError."""
    block = evaluation_block(params_file, evaluation)
    file = params_file.with_name(EVALUATIONS)
    return validate(file, plugin("evaluation", evaluation).Params, block, evaluation)


def _check_listing(path: Path, evaluation: str, found: dict[str, object]) -> None:
    """Raises ArtifactError unless what DVC has recorded are the files as they are now."""
    stage = f"evaluation_source@{evaluation}"
    if artifacts.read_json(path, stage) != found:
        raise ArtifactError(path, "lists other files than there are now", stage)


@command
@params_option
@evaluation_option
@arm_option
@seed_option
def main(params_file: Path, evaluation: str, arm: str, seed: int) -> None:
    """Evaluate the encoder of one arm and seed as a file of stages/evaluation does.

    Reads models/<arm>-<seed>; writes reports/metrics/evaluations/<evaluation>/<arm>-<seed>.json, in
    percent, after the last epoch. A killed evaluation resumes where it last saved its state.
    """
    check_arm(params_file, arm)
    inputs, outputs = Inputs.of(evaluation, arm, seed), Outputs.of(evaluation, arm, seed)

    def current() -> str:
        settings = _settings(params_file, evaluation).model_dump()
        outside = describe(evaluation, evaluation_block(params_file, evaluation))
        _check_listing(inputs.listing, evaluation, outside)
        own = {"params": settings, "outside": outside, "seed": seed}
        readers = [f"stages.datasets.{name}" for name in plugins("datasets")]
        modules = ["stages.evaluate", f"stages.evaluation.{evaluation}", *readers]
        return run_fingerprint(modules, own, vars(inputs).values())

    with TrainingState(f"evaluate-{evaluation}", current) as state:
        settings = _settings(params_file, evaluation)
        run(evaluation, settings, inputs, outputs, arm, seed, state)
        state.cost.write(outputs.cost)


if __name__ == "__main__":
    main()
