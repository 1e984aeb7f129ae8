"""Digest the weights that `sampler.checkpoint` names, so that DVC notices when they change. Runs at
every `dvc repro` where they are a file or a folder, and reads a file again only if it was touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.common import artifacts, sections, weights
from stages.common.command import command, params_option
from stages.common.params import StageParams


@dataclass(frozen=True)
class Outputs:
    record: Path = Path("data/checkpoint.json")


class Params(StageParams):
    sampler: sections.Weights


def run(settings: Params, outputs: Outputs) -> None:
    """Raises CheckpointError when there is no such file or folder."""
    artifacts.write_json(outputs.record, describe(settings.sampler))


def describe(sampler: sections.Weights) -> dict[str, object]:
    """What `data/checkpoint.json` says; raises CheckpointError."""
    return weights.describe(sampler.checkpoint) if sampler.watch else weights.NONE


@command
@params_option
def main(params_file: Path) -> None:
    """Write size and digest of the weights in sampler.checkpoint to data/checkpoint.json.

    `dvc repro` runs it each time where they are a file or a folder; the sampler is made anew when
    their content has changed.
    """
    run(Params.load(params_file), Outputs())


if __name__ == "__main__":
    main()
