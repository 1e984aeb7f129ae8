"""The sampler: the encoder that will tell which images are alike.

Trains `sampler.method` on the un-paired training images, from random weights or `sampler.weights`,
or takes those that `sampler.checkpoint` names. Its history is empty in the second case, and its
metrics, which say how long it was trained, are null.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.common import artifacts, env, sections, weights
from stages.common.command import command, params_option
from stages.common.cost import cost_path
from stages.common.images import ImageStore
from stages.common.params import StageParams
from stages.common.sections import Seed, Views
from stages.common.state import TrainingState
from stages.ssl.batches import instance_rows, step_seed
from stages.ssl.checkpoints import from_checkpoint
from stages.ssl.encoder import Encoder, EncoderConfig
from stages.ssl.export import record
from stages.ssl.preflight import check_trainings
from stages.ssl.pretraining import train, training_fingerprint

MODULE = "stages.sampler"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    weights: Path = Path("data/weights/sampler.json")
    manifest: Path = Path("data/manifest.parquet")
    images: Path = Path("data/images.npy")


@dataclass(frozen=True)
class Outputs:
    encoder: Path = Path("models/sampler")
    history: Path = Path("reports/plots/sampler.csv")
    metrics: Path = Path("reports/metrics/sampler.json")
    cost: Path = cost_path("sampler")


class Params(StageParams):
    seed: Seed
    views: Views
    sampler: sections.Sampler
    methods: dict[str, dict[str, Any]]  # of which only the sampler's own is read


def run(settings: Params, inputs: Inputs, outputs: Outputs, state: TrainingState) -> int | None:
    """Train or fetch the sampler; with `state`, an interrupted training continues. Returns how many
    rows it was trained on, none if not here."""
    sampler = settings.sampler
    weights.check_record(inputs.weights, sampler.given)
    if sampler.given and weights.made_here(sampler.given):
        log.warning(
            "%s %s is about to be trained anew: to make this sampler again, copy the folder (e.g. "
            "to models/round-1) and name the copy",
            *sampler.given,
        )
    if sampler.checkpoint is not None:
        v = settings.views
        config = EncoderConfig(sampler.backbone, sampler.stem, v.image_size, v.mean, v.std)
        encoder, history = from_checkpoint(sampler.given, config), []
    else:
        store = ImageStore(inputs.manifest, inputs.images)
        encoder, history = train(
            section="sampler",
            training=sampler,
            method_values=settings.methods[sampler.method],
            views=settings.views,
            rows=instance_rows(store.select("train")),
            store=store,
            # Not the seed itself: with it the sampler would be the vanilla encoder of that seed.
            seed=step_seed(settings.seed, 1),
            state=state,
            label="sampler",
        )
    record(encoder, history, outputs.encoder, outputs.history, state)
    if env.is_first():
        artifacts.write_json(outputs.metrics, _length(encoder if history else None))
    return encoder.rows_seen if history else None


def _length(encoder: Encoder | None) -> dict[str, object]:
    """How long `encoder` was trained here, and from what weights, where they were given; null for
    None, whose training is not known."""
    facts = ("method", "epochs", "steps", "batch_size")
    training = encoder.config.training if encoder else {}
    length = {fact: training.get(fact) for fact in facts}
    length["rows_seen"] = encoder.rows_seen if encoder else None
    return {**length, **({"weights": training["weights"]["name"]} if "weights" in training else {})}


@command
@params_option
def main(params_file: Path) -> None:
    """Train the sampler encoder, or take it from sampler.checkpoint.

    Reads the training images of data/manifest.parquet; writes models/sampler,
    reports/plots/sampler.csv and reports/metrics/sampler.json. A killed training resumes where it
    last saved its state.
    """
    check_trainings(params_file)

    def current() -> str:
        settings = Params.load(params_file)
        return training_fingerprint(MODULE, settings, "sampler", vars(Inputs()).values())

    with TrainingState("sampler", current) as state:
        outputs = Outputs()
        state.cost.images = run(Params.load(params_file), Inputs(), outputs, state)
        state.cost.write(outputs.cost)


if __name__ == "__main__":
    main()
