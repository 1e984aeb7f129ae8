"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from stages.common import env


class Progress:
    """Counts `unit`s up to `total`, with rate and time left. Use as a context manager.

    tqdm draws the bar; where stderr is no terminal it writes one line every
    ``SEPP_LOG_SECONDS`` instead, so that a log stays readable.
    """

    def __init__(self, label: str, total: int, unit: str, start: int = 0) -> None:
        self.live = sys.stderr.isatty()
        self.bar = tqdm(
            total=total,
            initial=start,
            desc=label,
            unit=f" {unit}",
            unit_scale=total >= 100_000,
            dynamic_ncols=True,
            file=sys.stderr,
            disable=not self.live,  # its carriage returns would run together in a log
        )
        self.label, self.total, self.unit = label, total, unit
        self.done, self.start = start, start
        self.began = self.told = time.monotonic()
        self.note = ""

    def advance(self, count: int = 1, **notes: str) -> None:
        """`count` more units are done; `notes` are shown behind the bar, e.g. ``loss="5.31"``."""
        self.done += count
        if notes:
            self.note = ", ".join(f"{key} {value}" for key, value in notes.items())
        if self.live:
            if notes:
                self.bar.set_postfix_str(self.note, refresh=False)
            self.bar.update(count)
        elif time.monotonic() - self.told >= env.log_seconds():
            self._line()

    def _line(self) -> None:
        self.told = time.monotonic()
        spent = self.told - self.began
        rate = (self.done - self.start) / spent if spent else 0.0
        left = (self.total - self.done) / rate if rate else float("nan")
        share = 100 * self.done / self.total if self.total else 100
        tail = f", {self.note}" if self.note else ""
        print(
            f"{self.label}: {self.done:,}/{self.total:,} {self.unit} ({share:.0f} %), "
            f"{rate:,.1f} {self.unit}/s, {left:,.0f} s left{tail}",
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()
        if not self.live and error is None:
            self._line()

    def close(self) -> None:
        """All is done: the last word."""
        self.__exit__(None, None, None)
