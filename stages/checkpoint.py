"""Digest the weights that the sampler or the arms are given, so that DVC notices a change in them.

Runs at every `dvc repro` where they are a file or a folder, and reads a file again only if it was
touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from stages.common import artifacts, sections, weights
from stages.common.command import command, params_option
from stages.common.errors import CheckpointError
from stages.common.params import StageParams

SECTIONS = ("sampler", "pretrain")  # of params.yaml, that weights can be given to


@dataclass(frozen=True)
class Outputs:
    record: Path

    @classmethod
    def of(cls, section: str) -> Outputs:
        return cls(Path(f"data/weights/{section}.json"))


class Params(StageParams):
    sampler: sections.SamplerStart
    pretrain: sections.Start


def run(settings: Params, outputs: Outputs, section: str) -> None:
    """Raises CheckpointError when there is no such file or folder, or DVC is about to remove it."""
    given = getattr(settings, section).given
    own = given and given.name.strip("./") == "models/sampler"
    if own or (given and section == "pretrain" and weights.made_here(given)):
        raise CheckpointError(
            f"{given.leaf} {given.name!r} is what is to be made: copy the folder, e.g. to "
            "models/start, and name the copy"
        )
    artifacts.write_json(outputs.record, weights.describe(given))


@command
@params_option
@click.argument("section", type=click.Choice(SECTIONS), required=False)
def main(params_file: Path, section: str | None) -> None:
    """Write size and digest of the weights that SECTION is given to data/weights/SECTION.json.

    They are what sampler.checkpoint, sampler.weights and pretrain.weights name. `dvc repro` runs it
    each time where that is a file or a folder; what is made of them is made anew when their content
    has changed. Without SECTION: for both.
    """
    settings = Params.load(params_file)
    for one in (section,) if section else SECTIONS:
        run(settings, Outputs.of(one), one)


if __name__ == "__main__":
    main()
