"""Streams for the tests of joins: events as chunks, and a driver of the stateful step with state that is a few
lists."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.utils.windowed_value import WindowedValue

from schemas.rails import Record
from transforms.chunks import Chunk, pack_chunks, unpack_chunk
from transforms.join_batches import RowPacker, side_of
from transforms.join_rows import SideRow
from transforms.joins import _JoinInState
from transforms.plain import decode_plain, encode_plain
from transforms.rows import RowsOf


class Event(NamedTuple):
    """A record to be: its row's key and time, what the value is (None: a tombstone), and its append time."""

    key: Any
    time: int
    value: Any
    at: int


def read_event(record: Record) -> tuple[Any, int, Any] | None:
    return None if record.value is None else decode_plain(record.value)


ROWS = RowsOf(read_event)


def record_of(offset: int, event: Event) -> Record:
    value = None if event.value is None else encode_plain((event.key, event.time, event.value))
    return Record(offset, event.at, str(event.key).encode(), value, None, ())


def chunks_of(topic: str, events: Iterable[Event], size: int = 10, partition: int = 0) -> list[Chunk]:
    return list(pack_chunks(topic, partition, (record_of(i, event) for i, event in enumerate(events)), size))


class Bag(list[bytes]):
    def read(self) -> list[bytes]:
        return list(self)

    add = list.append


class Value:
    held: int | None = None

    def read(self) -> int | None:
        return self.held

    def write(self, value: int) -> None:
        self.held = value

    def clear(self) -> None:
        self.held = None


class Timer:
    at: Any = None

    def set(self, at: Any) -> None:
        self.at = at


class InState:
    """The stateful step for one bucket: take packs, move the watermark, look at what came out."""

    def __init__(self, join: Any) -> None:
        self.step = _JoinInState(join)
        self.left, self.right, self.closed, self.due, self.timer = Bag(), Bag(), Value(), Value(), Timer()
        self.results: list[tuple[int, Any]] = []  # (time stamped with, row)
        self.unmatched: list[tuple[int, Any]] = []
        self.late: list[Any] = []

    @property
    def _state(self) -> tuple[Any, ...]:
        return self.left, self.right, self.closed, self.due, self.timer

    def _keep(self, outputs: Iterator[Any]) -> None:
        for output in outputs:
            if isinstance(output, WindowedValue):
                self.results.append((output.timestamp.micros // 1000, output.value))
            elif isinstance(output, pvalue.TaggedOutput) and output.tag == "unmatched":
                self.unmatched.append((output.value.timestamp.micros // 1000, output.value.value))
            else:
                self.late.append(output.value)

    def take(self, pack: bytes) -> None:
        self._keep(self.step.process((0, pack), *self._state))

    def move(self, watermark: int) -> None:
        while self.timer.at is not None and self.timer.at.micros // 1000 <= watermark:
            at, self.timer.at = self.timer.at, None
            self._keep(self.step.on_closing(at, *self._state))


END = 10**15


def live(join: Any, chunks: Sequence[Sequence[Chunk]], order: Sequence[int], tombstones: Any = (None, None)) -> InState:
    """Chunks of the two sides, taken in this order of sides; the watermark follows the smaller clock as closely as it
    may."""
    state, at = InState(join), [0, 0]
    for side in [*order, *([0] * len(chunks[0])), *([1] * len(chunks[1]))]:
        if at[side] < len(chunks[side]):
            packs, _ = packed(join, side, chunks[side][at[side] : at[side] + 1], tombstones[side])
            at[side] += 1
            for pack in packs:
                assert side_of(pack) == side
                state.take(pack)
            # the clock before a chunk bounds the watermark until the chunk has been taken
            state.move(min(some[i].clock if i < len(some) else END for some, i in zip(chunks, at, strict=True)))
    return state


def packed(join: Any, side: int, chunks: Sequence[Chunk], tombstone: Any = None) -> tuple[list[bytes], list[Any]]:
    """(packs of one bucket, late rows) of chunks in one bundle."""
    packer, late = RowPacker(ROWS, side, join.grace_ms, 1, tombstone), []
    for chunk in chunks:
        late += packer.add(chunk)[0]
    return [pack for _, _, pack in packer.take()], late


def rows_of(join: Any, side: int, chunks: Sequence[Chunk]) -> list[tuple[Any, SideRow]]:
    """(key, row) of all that is not late, one by one; a tombstone's value is None."""
    found = []
    for chunk in chunks:
        clock = chunk.clock
        for record in unpack_chunk(chunk):
            key, time, value = read_event(record) or ((record.key or b"").decode(), record.at, None)
            if time + join.grace_ms >= clock:
                found.append((key, SideRow(chunk.topic, chunk.partition, record.offset, time, value)))
            clock = max(clock, record.at)
    return found


def counted(rows: Iterable[Any]) -> Counter[Any]:
    return Counter(rows)


FOUND: dict[str, list[Any]] = {}


class Gather(beam.DoFn):
    """Keeps (element, ms of its timestamp) under a name in FOUND, of a runner that works in this process.

    BundleBasedDirectRunner lets the watermark pass timers that are still to fire, and `assert_that` looks too early
    then.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        FOUND[name] = []

    def process(self, element: Any, timestamp: Any = beam.DoFn.TimestampParam) -> None:
        FOUND[self.name].append((element, timestamp.micros // 1000))
