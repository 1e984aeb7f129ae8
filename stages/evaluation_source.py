"""List the files that an evaluation reads from outside the repository, so that DVC notices changes.
Runs at every `dvc repro` for each of `evaluations`: no file is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.common import artifacts
from stages.common.command import command, evaluation_option, params_option
from stages.common.params import StageParams, evaluation_block
from stages.evaluation._outside import describe


@dataclass(frozen=True)
class Outputs:
    listing: Path

    @classmethod
    def of(cls, evaluation: str) -> Outputs:
        return cls(Path(f"data/evaluations/{evaluation}.json"))


class Params(StageParams):
    """Nothing but the block of the evaluation."""


@command
@params_option
@evaluation_option
def main(params_file: Path, evaluation: str) -> None:
    """List names, sizes and times of the files below every `root` in an evaluation's block.

    Writes data/evaluations/<evaluation>.json. `dvc repro` runs it each time for each of
    `evaluations`; the evaluation runs again when the listing has changed.
    """
    block = evaluation_block(params_file, evaluation)
    artifacts.write_json(Outputs.of(evaluation).listing, describe(evaluation, block))


if __name__ == "__main__":
    main()
