"""Partial aggregates of chunks: the pure part of keyed windows (no Beam here).

Rows are grouped per key and *slice*, the longest interval that no window cuts, and lifted into one accumulator each; an accumulator then goes to every
window that its slice lies in. A session partial covers the rows of a key that follow one another within the gap.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from transforms.aggregates import Aggregate
from transforms.chunks import Chunk, unpack_chunk
from transforms.rows import Columns, Rows

MAX_SIZE_MS = (
    100 * 366 * 86_400_000
)  # a hundred years: with it, no window leaves the range that `transforms.rows` clamps times for
MAX_WINDOWS = 100_000  # that one row may lie in


def _check_ms(kind: str, name: str, value: int) -> None:
    if type(value) is not int or not 1 <= value <= MAX_SIZE_MS:
        raise ValueError(f"{kind}: {name} must be whole milliseconds from 1 to {MAX_SIZE_MS}, got {value!r}")


@dataclass(frozen=True)
class Sliding:
    """Windows of `size_ms`, one beginning every `period_ms`, at `offset_ms` past a whole number of periods since 1970."""

    size_ms: int
    period_ms: int
    offset_ms: int = 0

    def __post_init__(self) -> None:
        kind = type(self).__name__
        _check_ms(kind, "size_ms", self.size_ms)
        _check_ms(kind, "period_ms", self.period_ms)
        if type(self.offset_ms) is not int or not 0 <= self.offset_ms < self.period_ms:
            raise ValueError(f"{kind}: offset_ms must be from 0 to below period_ms, got {self.offset_ms!r}")
        if self.period_ms > self.size_ms:
            raise ValueError(f"{kind}: period_ms {self.period_ms} must not exceed size_ms {self.size_ms}")
        if self.size_ms > self.period_ms * MAX_WINDOWS:
            raise ValueError(f"{kind}: period_ms {self.period_ms} puts a time into more than {MAX_WINDOWS} windows")

    @property
    def slice_ms(self) -> int:
        """Length of a slice."""
        return gcd(self.size_ms, self.period_ms)

    @property
    def first_end(self) -> int:
        """The smallest end of a window that is not negative: all ends are a whole number of periods away."""
        return (self.offset_ms + self.size_ms) % self.period_ms


@dataclass(frozen=True)
class Fixed:
    """Windows of `size_ms`, one after another, at `offset_ms` past a whole number of sizes since 1970."""

    size_ms: int
    offset_ms: int = 0

    def __post_init__(self) -> None:
        _check_ms("Fixed", "size_ms", self.size_ms)
        if type(self.offset_ms) is not int or not 0 <= self.offset_ms < self.size_ms:
            raise ValueError(f"Fixed: offset_ms must be from 0 to below size_ms, got {self.offset_ms!r}")

    @property
    def as_sliding(self) -> Sliding:
        """The same windows."""
        return Sliding(self.size_ms, self.size_ms, self.offset_ms)


@dataclass(frozen=True)
class Session:
    """A window per key that grows with each row and ends when none comes for `gap_ms`: rows `gap_ms` or more apart are in different ones."""

    gap_ms: int

    def __post_init__(self) -> None:
        _check_ms("Session", "gap_ms", self.gap_ms)


Window = Fixed | Sliding | Session


class Partial(NamedTuple):
    """What some rows of a key make of a window `start <= time < end` (ms): the encoded accumulator.

    For a session, `start` is the time of the first of these rows and `end` that of the last plus the gap.
    """

    start: int
    end: int
    accumulator: bytes


class Late(NamedTuple):
    """A row that is late for `missed` of its `windows` windows."""

    offset: int
    key: Any
    time: int
    clock: int
    value: Any
    missed: int
    windows: int


class Refused(NamedTuple):
    """A record whose row could not be read."""

    offset: int
    code: str
    detail: str


class Partials:
    """Takes chunks, in any order, and gives back the partials of their rows."""

    def __init__(self, rows: Rows, aggregate: Aggregate, allowed_lateness_ms: int) -> None:
        self._rows, self._aggregate, self._lateness = rows, aggregate, allowed_lateness_ms
        self.pending = 0  # rows held

    def add(self, chunk: Chunk) -> tuple[list[Late], list[Refused]]:
        """Takes the rows of a chunk, except those that it returns."""
        columns = self._rows.read(chunk)
        self.pending += len(columns.keys)
        missed = self._add(columns) if len(columns.keys) else None
        if missed is None and not columns.bad:
            return [], []
        offsets = [record.offset for record in unpack_chunk(chunk)]
        late = (
            []
            if missed is None
            else [self._late(columns, offsets, int(i), int(missed[i])) for i in np.flatnonzero(missed)]
        )
        return late, [Refused(offsets[bad.index], bad.code, bad.detail) for bad in columns.bad]

    def _late(self, columns: Columns, offsets: Sequence[int], i: int, missed: int) -> Late:
        time = int(columns.times[i])
        return Late(
            offsets[columns.indexes[i]],
            self._rows.key(columns.keys[i]),
            time,
            int(columns.clocks[i]),
            columns.values[i],
            missed,
            self._windows_of(time),
        )

    def _windows_of(self, time: int) -> int:
        """How many windows `time` lies in."""
        raise NotImplementedError

    def _add(self, columns: Columns) -> Any:
        """Takes the rows; returns for each how many windows it misses, or None if none misses any."""
        raise NotImplementedError

    def take(self) -> Iterator[tuple[Any, list[Partial]]]:
        """Everything so far, by key; forgotten here."""
        raise NotImplementedError


class SlicePartials(Partials):
    """For fixed and sliding windows: one partial per key and window."""

    def __init__(self, rows: Rows, window: Sliding, aggregate: Aggregate, allowed_lateness_ms: int) -> None:
        super().__init__(rows, aggregate, allowed_lateness_ms)
        self._window = window
        self._slices: dict[int, dict[Any, list[Any]]] = {}  # by start of the slice
        self._rest: dict[
            int, dict[Any, list[Any]]
        ] = {}  # by end of the window: rows that are late for some of their windows

    def _first_end(self, time: Any) -> Any:
        """End of the first window that `time` (a number or an array) lies in."""
        return time + self._window.period_ms - (time - self._window.first_end) % self._window.period_ms

    def _last_end(self, time: Any) -> Any:
        """End of the last one."""
        return time - (time - self._window.offset_ms) % self._window.period_ms + self._window.size_ms

    def _windows_of(self, time: int) -> int:
        return int((self._last_end(time) - self._first_end(time)) // self._window.period_ms) + 1

    def _add(self, columns: Columns) -> Any:
        window, times = self._window, columns.times
        keys, values = columns.keys, columns.values
        starts = times - (times - window.offset_ms) % window.slice_ms
        # Closed on the clock: windows that end at or before this.
        closed = columns.clocks - self._lateness
        missed = None
        if (self._first_end(times) <= closed).any():
            first, last = self._first_end(times), self._last_end(times)
            missed = np.clip((np.minimum(closed, last) - first) // window.period_ms + 1, 0, None)
            for i in np.flatnonzero(missed):
                for end in range(int(first[i] + missed[i] * window.period_ms), int(last[i]) + 1, window.period_ms):
                    self._rest.setdefault(end, {}).setdefault(keys[i], []).append(values[i])
            whole = np.flatnonzero(missed == 0)
            starts = starts[whole]
            keys, values = [keys[i] for i in whole], [values[i] for i in whole]
        slices = self._slices
        for start in np.unique(starts).tolist():
            if start not in slices:
                slices[start] = defaultdict(list)
        for start, key, value in zip(starts.tolist(), keys, values, strict=True):
            slices[start][key].append(value)
        return missed

    def take(self) -> Iterator[tuple[Any, list[Partial]]]:
        aggregate, window = self._aggregate, self._window
        by_key: dict[Any, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for start, slices in self._slices.items():
            ends = range(self._first_end(start), self._last_end(start) + 1, window.period_ms)
            for key, values in slices.items():
                accumulator, windows = aggregate.lift(values), by_key[key]
                for end in ends:
                    windows[end].append(accumulator)
        for end, late in self._rest.items():
            for key, values in late.items():
                by_key[key][end].append(aggregate.lift(values))
        self._slices, self._rest, self.pending = {}, {}, 0
        merge, encode, size = aggregate.merge, aggregate.encode, window.size_ms
        for key, windows in by_key.items():
            yield (
                self._rows.key(key),
                [
                    Partial(end - size, end, encode(some[0] if len(some) == 1 else merge(some)))
                    for end, some in windows.items()
                ],
            )


class SessionPartials(Partials):
    """For sessions: one partial per key and run of rows less than a gap apart."""

    def __init__(self, rows: Rows, window: Session, aggregate: Aggregate, allowed_lateness_ms: int) -> None:
        super().__init__(rows, aggregate, allowed_lateness_ms)
        self._gap = window.gap_ms
        self._by_key: dict[Any, list[tuple[int, Any]]] = defaultdict(list)

    def _windows_of(self, time: int) -> int:
        return 1

    def _add(self, columns: Columns) -> Any:
        late = columns.times + (self._gap + self._lateness) <= columns.clocks
        by_key = self._by_key
        for key, time, value, is_late in zip(
            columns.keys, columns.times.tolist(), columns.values, late.tolist(), strict=True
        ):
            if not is_late:
                by_key[key].append((time, value))
        return late if late.any() else None

    def take(self) -> Iterator[tuple[Any, list[Partial]]]:
        by_key, self._by_key, self.pending = self._by_key, defaultdict(list), 0
        for key, rows in by_key.items():
            rows.sort(key=lambda row: row[0])
            bounds = [i for i in range(1, len(rows)) if rows[i][0] - rows[i - 1][0] >= self._gap]
            runs = (rows[i:j] for i, j in zip([0, *bounds], [*bounds, len(rows)], strict=True))
            yield self._rows.key(key), [self._partial(run) for run in runs]

    def _partial(self, run: Sequence[tuple[int, Any]]) -> Partial:
        accumulator = self._aggregate.lift([value for _, value in run])
        return Partial(run[0][0], run[-1][0] + self._gap, self._aggregate.encode(accumulator))


def new_partials(rows: Rows, window: Window, aggregate: Aggregate, allowed_lateness_ms: int = 0) -> Partials:
    """The partials for this kind of window."""
    if isinstance(window, Session):
        return SessionPartials(rows, window, aggregate, allowed_lateness_ms)
    return SlicePartials(
        rows, window.as_sliding if isinstance(window, Fixed) else window, aggregate, allowed_lateness_ms
    )


def stamped(partial: Partial, window: Window) -> Iterator[tuple[int, bytes]]:
    """(time to stamp with, accumulator) of the elements that make Beam's windows of a partial; no bytes stand for the identity.

    Of a fixed or sliding window: its last millisecond. Beam's sessions see an element as `[time, time + gap)` and join those that overlap, so a partial is
    stamped with its first time and followed by identities, less than a gap apart, up to its last time: together they span its interval.
    """
    start, end, accumulator = partial
    if not isinstance(window, Session):
        yield end - 1, accumulator
        return
    yield start, accumulator
    last = end - window.gap_ms
    if last > start:
        for time in range(start + window.gap_ms - 1, last, window.gap_ms - 1):
            yield time, b""
        yield last, b""


def merge_bytes(aggregate: Aggregate, accumulators: Iterable[bytes]) -> bytes:
    """One encoded accumulator of several; no bytes stand for the identity."""
    some = [accumulator for accumulator in accumulators if accumulator]
    if len(some) < 2:
        return some[0] if some else b""
    return aggregate.encode(aggregate.merge(map(aggregate.decode, some)))


def merge_partials(window: Window, aggregate: Aggregate, partials: Iterable[Partial]) -> list[Partial]:
    """The partials of one key as one per window, in order of time."""
    if isinstance(window, Session):
        groups: list[list[Partial]] = []
        end = 0
        for partial in sorted(partials):
            if groups and partial.start < end:
                groups[-1].append(partial)
                end = max(end, partial.end)
            else:
                groups.append([partial])
                end = partial.end
        spans = [(group[0].start, max(p.end for p in group), [p.accumulator for p in group]) for group in groups]
    else:
        windows: dict[tuple[int, int], list[bytes]] = defaultdict(list)
        for start, end, accumulator in partials:
            windows[start, end].append(accumulator)
        spans = [(start, end, windows[start, end]) for start, end in sorted(windows)]
    return [Partial(start, end, merge_bytes(aggregate, accumulators)) for start, end, accumulators in spans]


_HEAD = struct.Struct("<qqI")


def pack_partials(partials: Iterable[Partial]) -> bytes:
    """Partials as bytes."""
    return b"".join(_HEAD.pack(start, end, len(accumulator)) + accumulator for start, end, accumulator in partials)


def unpack_partials(data: bytes) -> Iterator[Partial]:
    """Inverse of `pack_partials`."""
    i = 0
    while i < len(data):
        start, end, size = _HEAD.unpack_from(data, i)
        i += _HEAD.size + size
        yield Partial(start, end, data[i - size : i])
