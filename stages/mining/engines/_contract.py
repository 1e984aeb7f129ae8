"""What an engine is given, and what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.common.progress import Progress

Candidates = Iterator[tuple[np.ndarray, np.ndarray]]


class Means(NamedTuple):
    """What an engine may use."""

    memory: int  # bytes, beside the rows
    scratch: Path | None  # a folder for files, which the engine removes; None: the system's
    progress: Progress
