"""What is on record of a data set, and of given weights, where no stage looks at them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from stages import checkpoint, source
from stages.common import weights
from stages.common.sections import BUNDLED


def records(data: str, watched: Collection[str] = ()) -> dict[Path, dict[str, object]]:
    """The JSON files that go with a params.yaml of data set `data`, in which `watched` are the
    sections whose given weights are a file; what others have left there is out of date."""
    found = {source.Outputs.listing: source.describe(data)} if data in BUNDLED else {}
    alone = [section for section in checkpoint.SECTIONS if section not in watched]
    return found | {checkpoint.Outputs.of(section).record: weights.NONE for section in alone}
