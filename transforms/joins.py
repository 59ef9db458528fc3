"""Joins over chunks: two streams by interval, a stream with a table as of its time, two tables.

Rows go to Beam as packs, one for a bundle, side and bucket of keys (`transforms.join_batches`), and are joined a bucket
at a time by the pure parts in `transforms.interval_join` and `transforms.table_join`.

**Bounded**: packs are grouped by bucket, and joined when all are there.

**Unbounded**: a bucket is a key of Beam state. Packs lie in a bag; what has come is joined with what lies there at once
(interval join, Keep.ALL), and an event-time timer closes rows: it decides what only the end of waiting decides (rows
without a partner, FIRST, LAST, as-of, tables), and drops what is needed no longer, so state is bounded by the interval
and the grace, and of a table by its keys. Why not Beam's windows with a GroupByKey per window: a pair would wait for
the end of its window, or be given again with each early pane. State and results of a bundle are committed together, so
a bundle that is retried neither loses nor doubles a pair, and what is decided depends on times and clocks, not on
bundles.

**Late.** A row is late when `time + grace_ms < clock`, the clock being the largest append time of its partition before
its record; judged per row before Beam, so the same at every replay. Late rows take no part and are an output. It is
enough for exact joins that the watermark of a source is not ahead of the clocks of its partitions (see
`transforms.windows`) and that a chunk is stamped no later than its rows: then no row comes whose partners are closed.
Should a source break this, such a row is late as well, its clock being the moment of closing.

**Times.** A pair of `Keep.ALL` is stamped with the later of the two times. Whatever waits for a closing is stamped with
the moment of it: closings are gathered in steps of `step_ms`, because each looks at all rows of its bucket, so they
come up to a step later. Longer steps, or more buckets, cost less.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import coders, pvalue
from apache_beam.transforms.core import DoFn
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils import windowed_value
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from transforms.chunks import Chunk
from transforms.closing_join import NEVER, ClosingJoin, Stamped
from transforms.interval_join import IntervalJoin
from transforms.join_batches import MAX_BUCKETS, RowPacker, pack_batch, side_of, unpack_batches, without_closed
from transforms.join_rows import LEFT, RIGHT, JoinedRow, JoinMode, Keep, LateJoinRow, SideRow, UnmatchedRow
from transforms.rows import Rows
from transforms.table_join import AsOfJoin, TableJoin
from transforms.windows import BadRow

__all__ = [
    "JoinByInterval",
    "JoinMode",
    "JoinTableAsOf",
    "JoinTables",
    "Joined",
    "JoinedRow",
    "Keep",
    "LateJoinRow",
    "SideRow",
    "UnmatchedRow",
]

MAX_PENDING = 200_000  # rows that a bundle holds before it hands over packs: bounds memory, changes no result
MAX_PACKS = 64  # in a bag of state before they are made one
BUCKETS = 32
STEP_MS = 1000


class Joined(NamedTuple):
    """What a join gives. (A NamedTuple: Beam records its fields as the named outputs of the step.)

    results: PCollection[JoinedRow]; unmatched: PCollection[UnmatchedRow], rows without a partner that are no results in
    this mode; late: PCollection[LateJoinRow]; bad: PCollection[BadRow]. Every row is in one of them, except partners
    that Keep.FIRST or LAST passes over, and versions of tables that no row met.
    """

    results: Any
    unmatched: Any
    late: Any
    bad: Any


class _Join(beam.PTransform):
    """(PCollection[Chunk], PCollection[Chunk]) in the global window -> Joined."""

    def __init__(
        self,
        join: ClosingJoin,
        left: Rows,
        right: Rows,
        buckets: int,
        tombstones: tuple[Callable[[bytes], Any] | None, Callable[[bytes], Any] | None] = (None, None),
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for side, rows in (("left", left), ("right", right)):
            if not isinstance(rows, Rows):
                raise ValueError(f"{name}: the {side} rows must be a row reader of transforms.rows, got {rows!r}")
        if type(buckets) is not int or not 1 <= buckets <= MAX_BUCKETS:
            raise ValueError(f"{name}: buckets must be from 1 to {MAX_BUCKETS}, got {buckets!r}")
        self._join, self._rows, self._buckets, self._tombstones = join, (left, right), buckets, tombstones

    def expand(self, sides: Any) -> Any:
        if not isinstance(sides, tuple) or len(sides) != 2:
            raise ValueError(f"{type(self).__name__}: takes (left chunks, right chunks), got {sides!r}")
        packed = [self._packed(side, chunks) for side, chunks in enumerate(sides)]
        packs = tuple(one.packs for one in packed) | "Packs" >> beam.Flatten()
        if all(chunks.is_bounded for chunks in sides):
            joined = packs | "Group" >> beam.GroupByKey() | "Join" >> _outputs(_JoinWhole(self._join))
        else:
            joined = packs | "Join" >> _outputs(_JoinInState(self._join))
        late = (*(one.late for one in packed), joined.late) | "Late" >> beam.Flatten()
        bad = tuple(one.bad for one in packed) | "Bad" >> beam.Flatten()
        return Joined(joined.results, joined.unmatched, late, bad)

    def _packed(self, side: int, chunks: Any) -> Any:
        name = ("left", "right")[side]
        if not isinstance(chunks.windowing.windowfn, GlobalWindows):
            raise ValueError(f"the {name} chunks must be in the global window, not in {chunks.windowing.windowfn!r}")
        make = _Pack(self._rows[side], side, self._join.grace_ms, self._buckets, self._tombstones[side])
        step = beam.ParDo(make).with_output_types(tuple[int, bytes], late=LateJoinRow, bad=BadRow)
        return chunks | f"Pack {name}" >> step.with_outputs("late", "bad", main="packs")


def _outputs(join: DoFn) -> Any:
    step = beam.ParDo(join).with_output_types(JoinedRow, unmatched=UnmatchedRow, late=LateJoinRow)
    return step.with_outputs("unmatched", "late", main="results")


class JoinByInterval(_Join):
    """Joins two streams: rows of one key with `left.time - before_ms <= right.time <= left.time + after_ms`.

    (PCollection[Chunk], PCollection[Chunk]) -> `Joined`. `left_rows` and `right_rows` read (key, time, value) from
    records, see `transforms.rows`; keys have one type on both sides. keep: which of its partners a left row keeps. A
    row of either side is unmatched, or a result with None, when no row lies in its interval; unbounded, it is given
    once the watermark has passed its time + after_ms (right: before_ms) + grace_ms.
    """

    def __init__(
        self,
        left_rows: Rows,
        right_rows: Rows,
        before_ms: int,
        after_ms: int,
        mode: JoinMode = JoinMode.INNER,
        keep: Keep = Keep.ALL,
        grace_ms: int = 0,
        step_ms: int = STEP_MS,
        buckets: int = BUCKETS,
    ) -> None:
        join = IntervalJoin(mode, grace_ms, step_ms, before_ms, after_ms, keep)
        super().__init__(join, left_rows, right_rows, buckets)


class JoinTableAsOf(_Join):
    """Joins each row of a stream with the version of a table that stood at the row's time: the newest with
    `version.time <= row.time`.

    (PCollection[Chunk] of the stream, PCollection[Chunk] of the table's changelog) -> `Joined`, `left` being the
    stream. A version of the same millisecond as the row stands; of several versions of one time the last by (topic,
    partition, offset) does. A record of the changelog without value is a tombstone, by its key (`tombstone_key` makes
    the row's key of it) and append time: the key has no version from then on. mode: INNER, rows without a version are
    unmatched; LEFT, they are results with None. Versions that no row meets are no output.

    A late version is not applied, ever: read `table_rows` by append time (no field for the time) and none is late.
    Unbounded, a row waits until the watermark has passed its time + grace_ms.
    """

    def __init__(
        self,
        stream_rows: Rows,
        table_rows: Rows,
        mode: JoinMode = JoinMode.INNER,
        grace_ms: int = 0,
        tombstone_key: Callable[[bytes], Any] = bytes.decode,
        step_ms: int = STEP_MS,
        buckets: int = BUCKETS,
    ) -> None:
        join = AsOfJoin(mode, grace_ms, step_ms)
        super().__init__(join, stream_rows, table_rows, buckets, (None, tombstone_key))


class JoinTables(_Join):
    """Joins two tables by key, each kept from its changelog as in `JoinTableAsOf`.

    (PCollection[Chunk], PCollection[Chunk]) of changelogs -> `Joined`. keep: LAST, what stands at last; ALL, every
    state that stood, in the order of (time, left before right, topic, partition, offset); FIRST, as LAST, but only the
    first version of a key counts on either side, and tombstones do not. Results are upserts by key; None on both sides
    says that the key is gone (no longer on the sides that the mode asks for).

    Bounded, LAST and FIRST give one result per key, and what stands at the end without being a result is unmatched.
    Unbounded, they give the last state of each step of time, stamped with its end, so that the newest per key is the
    bounded result; nothing is unmatched, as a partner may come.
    """

    def __init__(
        self,
        left_rows: Rows,
        right_rows: Rows,
        mode: JoinMode = JoinMode.INNER,
        keep: Keep = Keep.LAST,
        grace_ms: int = 0,
        tombstone_key: Callable[[bytes], Any] = bytes.decode,
        step_ms: int = STEP_MS,
        buckets: int = BUCKETS,
    ) -> None:
        join = TableJoin(mode, grace_ms, step_ms, keep)
        super().__init__(join, left_rows, right_rows, buckets, (tombstone_key, tombstone_key))


_EVERYWHERE = (GlobalWindow(),)


class _Pack(DoFn):
    """Chunk -> (bucket, pack), stamped with the smallest time in it. Holds a bundle's rows; if it fails, nothing
    stays."""

    def __init__(
        self, rows: Rows, side: int, grace_ms: int, buckets: int, tombstone: Callable[[bytes], Any] | None
    ) -> None:
        self._arguments = rows, side, grace_ms, buckets, tombstone

    def start_bundle(self) -> None:
        self._packer = RowPacker(*self._arguments)

    def process(self, element: Chunk) -> Iterator[Any]:
        late, bad = self._packer.add(element)
        for row in late:
            yield pvalue.TaggedOutput("late", row)
        for refused in bad:
            yield pvalue.TaggedOutput("bad", BadRow(element.topic, element.partition, *refused))
        if self._packer.pending >= MAX_PENDING:
            yield from self._hand_over()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        return self._hand_over()

    def _hand_over(self) -> Iterator[WindowedValue]:
        for bucket, time, pack in self._packer.take():
            yield windowed_value.create((bucket, pack), time * 1000, _EVERYWHERE)


def _emitted(results: Iterable[Stamped], unmatched: Iterable[Stamped]) -> Iterator[Any]:
    # made by hand: TimestampedValue would cost more than the join
    create, everywhere = windowed_value.create, _EVERYWHERE
    for time, row in results:
        yield create(row, time * 1000, everywhere)
    for time, row in unmatched:
        yield pvalue.TaggedOutput("unmatched", create(row, time * 1000, everywhere))


class _JoinWhole(DoFn):
    """(bucket, packs of both sides) -> results."""

    def __init__(self, join: ClosingJoin) -> None:
        self._join = join

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        left, right = unpack_batches(element[1])
        return _emitted(*self._join.whole(left, right))


class _JoinInState(DoFn):
    """(bucket, pack) -> results. State: the packs of each side, the moment up to which rows are closed, the moment that
    the timer is set to."""

    LEFT = BagStateSpec("left", coders.BytesCoder())
    RIGHT = BagStateSpec("right", coders.BytesCoder())
    CLOSED = ReadModifyWriteStateSpec("closed", coders.VarIntCoder())
    DUE = ReadModifyWriteStateSpec("due", coders.VarIntCoder())
    CLOSING = TimerSpec("closing", TimeDomain.WATERMARK)

    def __init__(self, join: ClosingJoin) -> None:
        self._join = join

    def process(
        self,
        element: tuple[int, bytes],
        left_packs: Any = DoFn.StateParam(LEFT),
        right_packs: Any = DoFn.StateParam(RIGHT),
        closed: Any = DoFn.StateParam(CLOSED),
        due: Any = DoFn.StateParam(DUE),
        closing: Any = DoFn.TimerParam(CLOSING),
    ) -> Iterator[Any]:
        join, bags, pack = self._join, (left_packs, right_packs), element[1]
        side, since = side_of(pack), closed.read()
        if since is not None:
            late, pack = without_closed(pack, join.grace_ms, since)
            for row in late:
                yield pvalue.TaggedOutput("late", row)
        others = bags[1 - side].read() if join.pairs_at_once else ()
        batches = unpack_batches((pack, *others))
        if not len(batches[side].times):
            return
        yield from _emitted(join.arrived(*batches), ())
        bags[side].add(pack)
        moment, known = join.next_moment(*batches, NEVER if since is None else since), due.read()
        if moment is not None and (known is None or moment < known):
            due.write(moment)
            closing.set(Timestamp(micros=moment * 1000))

    @on_timer(CLOSING)
    def on_closing(
        self,
        timestamp: Timestamp = DoFn.TimestampParam,
        left_packs: Any = DoFn.StateParam(LEFT),
        right_packs: Any = DoFn.StateParam(RIGHT),
        closed: Any = DoFn.StateParam(CLOSED),
        due: Any = DoFn.StateParam(DUE),
        closing: Any = DoFn.TimerParam(CLOSING),
    ) -> Iterator[Any]:
        join, until, since = self._join, timestamp.micros // 1000, closed.read()
        held = list(left_packs.read()), list(right_packs.read())
        left, right = unpack_batches(chain(*held))
        decided, *kept = join.close(left, right, NEVER if since is None else since, until)
        yield from _emitted(*decided)
        for side, bag, before, after in zip((LEFT, RIGHT), (left_packs, right_packs), (left, right), kept, strict=True):
            if len(after.times) < len(before.times) or len(held[side]) > MAX_PACKS:
                bag.clear()
                if len(after.times):
                    bag.add(pack_batch(side, after))
        closed.write(until)
        moment = join.next_moment(kept[LEFT], kept[RIGHT], until)
        if moment is None:
            due.clear()
        else:
            due.write(moment)
            closing.set(Timestamp(micros=moment * 1000))
