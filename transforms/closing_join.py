"""What all joins share (no Beam here): a row waits until the clock has passed everything that could change what it
gives, then it is decided.

A bounded driver calls `whole` with all rows. A live one calls `arrived` with what came and what it holds, and `close`
when the clock reaches a moment of `next_moment`, with all that it holds; the outputs of both are the same, however rows
and moments fall together.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from transforms.join_batches import Batch
from transforms.join_rows import JoinMode

MAX_MS = 100 * 366 * 86_400_000  # a hundred years: with a row's clamped time it stays in Beam's range
NEVER = -(2**62)  # before any time

Stamped = tuple[int, Any]  # (time in ms to stamp with, element)


class Decided(NamedTuple):
    """What a join gives, each element with the time (ms) to stamp it with: results, and rows that the mode leaves
    out."""

    results: Iterable[Stamped]
    unmatched: Iterable[Stamped]


class Step(NamedTuple):
    """What closing gives: decisions, and the rows of either side that are still needed."""

    decided: Decided
    left: Batch
    right: Batch


@dataclass(frozen=True)
class ClosingJoin:
    """The join of (left rows, right rows) of some keys.

    mode: see JoinMode. grace_ms: how much later than its clock a row may come. step_ms: closings are gathered in steps
    of this length, because each looks at all that is held: decisions come this much later at most.
    """

    mode: JoinMode
    grace_ms: int
    step_ms: int

    name = "Join"  # of the transform, for messages
    pairs_at_once = False  # whether `arrived` may give anything

    def __post_init__(self) -> None:
        self._check_kind("mode", self.mode, JoinMode)
        self._check_ms("grace_ms", self.grace_ms)
        self._check_ms("step_ms", self.step_ms, 1)

    def _check_ms(self, field: str, value: Any, low: int = 0) -> None:
        if type(value) is not int or not low <= value <= MAX_MS:
            raise ValueError(f"{self.name}: {field} must be whole milliseconds from {low} to {MAX_MS}, got {value!r}")

    def _check_kind(self, field: str, value: Any, kind: type) -> None:
        if not isinstance(value, kind):
            raise ValueError(f"{self.name}: {field} must be a {kind.__name__}, got {value!r}")

    def closes(self, side: int, times: Any) -> Any:
        """When rows of these times close: decided as soon as the clock is past it."""
        return times + self.grace_ms

    def moment(self, closing: Any) -> Any:
        """The end of the step in which what closes at `closing` is decided; what is decided then is stamped with it."""
        return (closing // self.step_ms + 1) * self.step_ms

    def moments(self, side: int, times: Any) -> list[int]:
        """The moments at which rows of these times are decided."""
        return list(self.moment(self.closes(side, times)).tolist())

    def whole(self, left: Batch, right: Batch) -> Decided:
        """Everything, when all rows are there."""
        raise NotImplementedError

    def arrived(self, left: Batch, right: Batch) -> Iterable[Stamped]:
        """Results that need not wait, of two batches of which one has just come."""
        return ()

    def close(self, left: Batch, right: Batch, since: int, until: int) -> Step:
        """Decides the rows that close from `since` up to before `until`, of all that are held."""
        raise NotImplementedError

    def due(self, left: Batch, right: Batch, since: int) -> list[int]:
        """The times at which there is something to close, when everything before `since` is closed."""
        raise NotImplementedError

    def next_moment(self, left: Batch, right: Batch, since: int) -> int | None:
        """When to call `close` next, None if nothing waits for it."""
        due = self.due(left, right, since)
        return int(self.moment(min(due))) if due else None
