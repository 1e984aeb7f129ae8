"""List the files of the data set, so that DVC notices when they change. Runs at every `dvc repro`
for a data set outside the repository: names, sizes and times only, no file is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.common import artifacts, env, listing
from stages.common.command import command, params_option
from stages.common.errors import DataError
from stages.common.params import StageParams
from stages.common.sections import BUNDLED, Data
from stages.common.unread import UNREAD


@dataclass(frozen=True)
class Outputs:
    listing: Path = Path("data/source.json")


class Params(StageParams):
    data: Data


def run(params: Params, outputs: Outputs) -> None:
    """Raises DataError when the data root is no folder."""
    before = outputs.listing.read_text() if outputs.listing.exists() else ""
    artifacts.write_json(outputs.listing, describe(params.data.name))
    if outputs.listing.read_text() != before:  # DVC may restore what prepare made of these files
        artifacts.remove(outputs.listing.with_name(UNREAD.name))


def describe(name: str) -> dict[str, object]:
    """What `data/source.json` says of the files of data set `name`; raises DataError."""
    root = env.data_root()
    if name in BUNDLED:
        return {"name": name, **listing.NOTHING}
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; set SEPP_DATA_ROOT to the folder that holds the {name} files"
        )
    return {"name": name, **listing.describe(root)}


@command
@params_option
def main(params_file: Path) -> None:
    """List names, sizes and times of the files in SEPP_DATA_ROOT into data/source.json.

    `dvc repro` runs it each time for a data set outside the repository; prepare runs again when
    the listing has changed.
    """
    run(Params.load(params_file), Outputs())


if __name__ == "__main__":
    main()
