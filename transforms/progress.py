"""Progress of long work: a bar on a terminal (tqdm, when it is installed), plain lines elsewhere.

For launchers and command line tools only: it reads the wall clock, so nothing that shapes an output may use it.
"""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

INTERVAL_S = 5.0
"""Plain lines come at most this often: readable in a log of CI, and often enough to see that the work is alive."""


def line(label: str, done: int, total: int | None, unit: str, seconds: float) -> str:
    """One plain line: how many, of how many, the rate, and what remains at that rate.

    `line("payments", 12000, 20000, "records", 4.0)` is
    `payments: 12,000 of 20,000 records (60 %), 3,000/s, 3 s left`.
    """
    rate = done / seconds if seconds > 0 else 0.0
    text = f"{label}: {done:,}"
    if total:
        text += f" of {total:,} {unit} ({100 * done // total} %)"
    else:
        text += f" {unit}"
    text += f", {rate:,.0f}/s"
    if total and rate > 0 and done < total:
        text += f", {(total - done) / rate:,.0f} s left"
    return text


class Progress:
    """A context manager that is told of work done.

    `with Progress(20_000, "records", "payments") as progress: progress.update(100)`

    Args:
        total: how many are to be done; None when nobody knows (then there is no remaining time).
        unit: what is counted, in the plural.
        label: what is being done; the start of each line.
        stream: where it is shown; standard error when None, so that standard output stays data.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        total: int | None,
        unit: str = "records",
        label: str = "progress",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if total is not None and total < 0:
            raise ValueError(f"total must be 0 or more, or None: {total}")
        self.total = total
        self.unit = unit
        self.label = label
        self.done = 0
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._start = self._last = clock()
        self._bar = self._make_bar()

    def _make_bar(self) -> Any:
        if not self._stream.isatty():
            return None
        try:
            from tqdm import tqdm
        except ImportError:  # the extra `progress` is not installed: plain lines do as well
            return None
        return tqdm(total=self.total, unit=f" {self.unit}", desc=self.label, file=self._stream, unit_scale=True)

    def update(self, count: int = 1) -> None:
        """`count` more are done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
            return
        now = self._clock()
        if now - self._last >= INTERVAL_S:
            self._last = now
            self._print(now)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._print(self._clock())

    def _print(self, now: float) -> None:
        print(line(self.label, self.done, self.total, self.unit, now - self._start), file=self._stream, flush=True)
