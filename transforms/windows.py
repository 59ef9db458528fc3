"""Keyed windows over chunks: fixed, sliding and session aggregates, with panes and an output of late rows.

Beam's windows cost tens of microseconds an element, so its elements here are partial aggregates: what a bundle of
chunks has for one key and window. The pure part is in `transforms.partials`; Beam's own windows, triggers and
lateness do the rest.

**Late.** A row is late for a window when `window end + allowed_lateness_ms <= clock`, the clock being the largest
append time of its partition before its record. That is judged here, per row, so it is the same at every replay, in
any chunking and on any runner; what is late goes to `late`. GroupByKey drops, silently, what comes after `window end
+ allowed_lateness_ms` on its *watermark*. It never does so here as long as the watermark of the source is not ahead
of the smallest clock of its partitions, which the sources of this package keep to: what is not late by the clock is
then not late by the watermark. A bounded input has its watermark at the start until all is read.

**Panes.** Of an unbounded input: on time when the watermark passes the end of the window, early ones before it if
asked for, a late one for each addition after it. The last pane of a window, accumulated, is reproducible byte for
byte: it depends on the rows that were not late and on nothing else. How many panes come before it, and what is in
them, depends on bundles and on machines. A bounded input has one pane per window, the last one: its partials are
grouped by key alone, all windows of a key at once, because what Beam does per key and window is most of the cost.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import coders, pvalue
from apache_beam.transforms.core import CombineFn, DoFn
from apache_beam.transforms.trigger import (
    AccumulationMode,
    AfterCount,
    AfterProcessingTime,
    AfterWatermark,
    DefaultTrigger,
    TriggerFn,
)
from apache_beam.transforms.window import (
    FixedWindows,
    GlobalWindow,
    GlobalWindows,
    Sessions,
    WindowFn,
)
from apache_beam.typehints import with_input_types, with_output_types
from apache_beam.utils.timestamp import Duration, Timestamp
from apache_beam.utils.windowed_value import PaneInfoTiming, WindowedValue

from transforms.aggregates import Aggregate
from transforms.chunks import Chunk
from transforms.partials import (
    MAX_SIZE_MS,
    Fixed,
    Partials,
    Session,
    Sliding,
    Window,
    as_sliding,
    merge_partials,
    new_partials,
    pack_partials,
    stamped,
    unpack_partials,
)
from transforms.plain import PlainTupleCoder, decode_plain, encode_plain
from transforms.rows import Rows

__all__ = [
    "AggregateByWindow",
    "BadRow",
    "EarlyByCount",
    "EarlyByDelay",
    "Fixed",
    "LateRow",
    "Session",
    "Sliding",
    "WindowRow",
    "Windowed",
]

MAX_PENDING = 200_000  # values that a bundle holds before it hands over partials: bounds memory, changes no result


@dataclass(frozen=True)
class EarlyByCount:
    """Early panes after every `partials` additions to a window; a partial is what one bundle has for one key and window."""

    partials: int = 1

    def __post_init__(self) -> None:
        if type(self.partials) is not int or self.partials < 1:
            raise ValueError(f"EarlyByCount: partials must be a whole number of at least 1, got {self.partials!r}")


@dataclass(frozen=True)
class EarlyByDelay:
    """Early panes `seconds` of processing time after the first addition since the pane before.

    Whole seconds: Beam's triggers carry no others to a runner.
    """

    seconds: int

    def __post_init__(self) -> None:
        if type(self.seconds) is not int or self.seconds < 1:
            raise ValueError(f"EarlyByDelay: seconds must be a whole number of at least 1, got {self.seconds!r}")


class WindowRow(NamedTuple):
    """The aggregate of one key and window, `start <= time < end` in ms (a session ends one gap after its last row).

    value: the aggregate's result. timing: EARLY, ON_TIME or LATE. index: number of the pane, from 0.
    """

    key: Any
    start: int
    end: int
    value: Any
    timing: str
    index: int  # type: ignore[assignment] # hides tuple.index, which has no use here


class LateRow(NamedTuple):
    """A row that came too late for `missed` of the `windows` windows that its time lies in (for all, unless the windows slide).

    topic, partition, offset: its record; clock: the partition's clock before it, ms. Each such row is here exactly once.
    """

    topic: str
    partition: int
    offset: int
    key: Any
    time: int
    clock: int
    value: Any
    missed: int
    windows: int


class BadRow(NamedTuple):
    """A record whose row could not be read, and why: code and detail as in `BadRecord`."""

    topic: str
    partition: int
    offset: int
    code: str
    detail: str


class WindowRowCoder(PlainTupleCoder):
    kind = WindowRow


class LateRowCoder(PlainTupleCoder):
    kind = LateRow


class BadRowCoder(PlainTupleCoder):
    kind = BadRow


coders.registry.register_coder(WindowRow, WindowRowCoder)
coders.registry.register_coder(LateRow, LateRowCoder)
coders.registry.register_coder(BadRow, BadRowCoder)


class Windowed(NamedTuple):
    """What `AggregateByWindow` gives. (A NamedTuple: Beam records its fields as the named outputs of the step.)

    results: PCollection[WindowRow] in the global window, stamped with the last moment of the row's window (put
    them into windows again to aggregate further); late: PCollection[LateRow]; bad: PCollection[BadRow].
    """

    results: Any
    late: Any
    bad: Any


class AggregateByWindow(beam.PTransform):
    """Aggregates the rows of chunks per key and window.

    PCollection[Chunk] in the global window -> `Windowed`. `rows` reads (key, time, value) from the records, see `transforms.rows`.
    accumulating: whether a pane holds all of the window so far, or only what came since the pane before.
    """

    def __init__(
        self,
        rows: Rows,
        window: Window,
        aggregate: Aggregate,
        allowed_lateness_ms: int = 0,
        early: EarlyByCount | EarlyByDelay | None = None,
        accumulating: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(rows, Rows):
            raise ValueError(f"rows must be a row reader of transforms.rows, got {rows!r}")
        if not isinstance(window, Fixed | Sliding | Session):
            raise ValueError(f"window must be Fixed, Sliding or Session, got {window!r}")
        if not isinstance(aggregate, Aggregate):
            raise ValueError(f"aggregate must be an aggregate, got {aggregate!r}")
        if aggregate.integers_only and not rows.may_be_integers:
            raise ValueError(f"{aggregate!r} takes integers, which the value of the rows is not")
        if type(allowed_lateness_ms) is not int or not 0 <= allowed_lateness_ms <= MAX_SIZE_MS:
            raise ValueError(
                f"allowed_lateness_ms must be whole and from 0 to {MAX_SIZE_MS}, got {allowed_lateness_ms!r}"
            )
        if not isinstance(early, EarlyByCount | EarlyByDelay | None):
            raise ValueError(f"early must be EarlyByCount, EarlyByDelay or None, got {early!r}")
        self._rows, self._window, self._aggregate = rows, window, aggregate
        self._lateness, self._early, self._accumulating = allowed_lateness_ms, early, accumulating

    def expand(self, chunks: Any) -> Any:
        if not isinstance(chunks.windowing.windowfn, GlobalWindows):
            raise ValueError(f"chunks must be in the global window, not in {chunks.windowing.windowfn!r}")
        window, aggregate = self._window, self._aggregate
        new = partial(new_partials, self._rows, window, aggregate, self._lateness)
        make = (_MakeBatches if chunks.is_bounded else _MakePartials)(new, window, aggregate)
        step = beam.ParDo(make).with_output_types(tuple[bytes, bytes], late=LateRow, bad=BadRow)
        made = chunks | "Make partials" >> step.with_outputs("late", "bad", main="partials")
        if chunks.is_bounded:
            results = (
                made.partials
                | "Group" >> beam.GroupByKey()
                | "Merge" >> beam.ParDo(_MergeBatches(window, aggregate)).with_output_types(WindowRow)
            )
        else:
            mode = AccumulationMode.ACCUMULATING if self._accumulating else AccumulationMode.DISCARDING
            windows = beam.WindowInto(
                _window_fn(window),
                trigger=_trigger(self._early),
                accumulation_mode=mode,
                allowed_lateness=_duration(self._lateness),
            )
            results = (
                made.partials
                | "Window" >> windows
                | "Merge" >> beam.CombinePerKey(MergePartials(aggregate)).with_output_types(tuple[bytes, bytes])
                | "Make rows" >> beam.ParDo(_MakeRows(window)).with_output_types(WindowRow)
                | "Unwindow" >> beam.WindowInto(GlobalWindows())
            )
        return Windowed(results, made.late, made.bad)


@lru_cache(4096)
def _last_moment(end: int) -> Timestamp:
    """Beam's time of the last moment of a window, to which it stamps what it makes of one."""
    return Timestamp(micros=end * 1000 - 1)


def _duration(ms: int) -> Duration:
    return Duration(micros=ms * 1000)


def _window_fn(window: Window) -> WindowFn:
    """Beam's windows for the partials.

    Those of sliding windows are already one per window, stamped with its last millisecond. No two windows end in the
    same period, so fixed windows of the period tell them apart, and close when the sliding windows do: nothing is
    copied into size / period windows.
    """
    if isinstance(window, Session):
        return Sessions(_duration(window.gap_ms))
    sliding = as_sliding(window)
    return FixedWindows(_duration(sliding.period_ms), Timestamp(micros=sliding.phase_ms * 1000))


def _trigger(early: EarlyByCount | EarlyByDelay | None) -> TriggerFn:
    if early is None:
        return DefaultTrigger()  # on time, and then for each late addition
    if isinstance(early, EarlyByCount):
        return AfterWatermark(early=AfterCount(early.partials), late=AfterCount(1))
    return AfterWatermark(early=AfterProcessingTime(early.seconds), late=AfterCount(1))


class _Take(DoFn):
    """Takes chunks, gives late and bad rows; what becomes of the others, a subclass says.

    It holds the rows of a bundle; if that fails, nothing stays.
    """

    def __init__(self, new: Callable[[], Partials], window: Window, aggregate: Aggregate) -> None:
        self._new, self._window, self._aggregate = new, window, aggregate

    def start_bundle(self) -> None:
        self._partials = self._new()

    def process(self, element: Chunk) -> Iterator[Any]:
        late, bad = self._partials.add(element)
        for row in late:
            yield pvalue.TaggedOutput("late", LateRow(element.topic, element.partition, *row))
        for record in bad:
            yield pvalue.TaggedOutput("bad", BadRow(element.topic, element.partition, *record))
        if self._partials.pending >= MAX_PENDING:
            yield from self._hand_over()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        return self._hand_over()

    def _hand_over(self) -> Iterator[WindowedValue]:
        raise NotImplementedError


class _MakePartials(_Take):
    """Chunk -> (key, accumulator), both as bytes, one for each key and window, at the partial's time; no bytes stand for the identity."""

    def _hand_over(self) -> Iterator[WindowedValue]:
        everywhere, encode = (GlobalWindow(),), self._aggregate.encode
        for key, partials in self._partials.take():
            raw = encode_plain(key)
            for one in merge_partials(self._window, self._aggregate, partials):
                for time, accumulator in stamped(one, self._window):
                    encoded = b"" if accumulator is None else encode(accumulator)
                    yield WindowedValue((raw, encoded), Timestamp(micros=time * 1000), everywhere)


class _MakeBatches(_Take):
    """Chunk -> (key, partials), both as bytes, one for each key."""

    def _hand_over(self) -> Iterator[WindowedValue]:
        everywhere, time = (GlobalWindow(),), GlobalWindow().max_timestamp()
        for key, partials in self._partials.take():
            yield WindowedValue((encode_plain(key), pack_partials(self._aggregate, partials)), time, everywhere)


class _MergeBatches(DoFn):
    """(key, partials of all bundles) -> WindowRow for each window."""

    def __init__(self, window: Window, aggregate: Aggregate) -> None:
        self._window, self._aggregate = window, aggregate

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[WindowedValue]:
        key, aggregate, everywhere = decode_plain(element[0]), self._aggregate, (GlobalWindow(),)
        partials = chain.from_iterable(unpack_partials(aggregate, batch) for batch in element[1])
        for start, end, accumulator in merge_partials(self._window, aggregate, partials):
            row = WindowRow(key, start, end, aggregate.result(accumulator), "ON_TIME", 0)
            yield WindowedValue(row, _last_moment(end), everywhere)


@with_input_types(bytes)
@with_output_types(bytes)
class MergePartials(CombineFn):
    """Encoded accumulators -> the encoded result. Accumulators stay bytes (no bytes: the identity), so Beam's own coder carries them."""

    def __init__(self, aggregate: Aggregate) -> None:
        self._aggregate = aggregate

    def create_accumulator(self) -> bytes:
        return b""

    def add_input(self, accumulator: bytes, element: bytes) -> bytes:
        return self.merge_accumulators((accumulator, element))

    def add_inputs(self, accumulator: bytes, elements: Iterable[bytes]) -> bytes:
        return self.merge_accumulators((accumulator, *elements))

    def merge_accumulators(self, accumulators: Iterable[bytes]) -> bytes:
        some = [accumulator for accumulator in accumulators if accumulator]
        if len(some) < 2:
            return some[0] if some else b""
        return self._aggregate.encode(self._aggregate.merge(map(self._aggregate.decode, some)))

    def extract_output(self, accumulator: bytes) -> bytes:
        return encode_plain(self._aggregate.result(self._aggregate.decode(accumulator))) if accumulator else b""

    def get_accumulator_coder(self) -> coders.Coder:
        return coders.BytesCoder()


class _MakeRows(DoFn):
    """(key, result), both as bytes, in Beam's window -> WindowRow."""

    def __init__(self, window: Window) -> None:
        # of a sliding window Beam has the last period only
        self._size = None if isinstance(window, Session) else window.size_ms

    def process(
        self, element: tuple[bytes, bytes], window: Any = DoFn.WindowParam, pane: Any = DoFn.PaneInfoParam
    ) -> Iterator[WindowRow]:
        key, result = element
        if not result:  # a pane in which only identities came
            return
        end = window.end.micros // 1000
        start = window.start.micros // 1000 if self._size is None else end - self._size
        yield WindowRow(
            decode_plain(key), start, end, decode_plain(result), PaneInfoTiming.to_string(pane.timing), pane.index
        )
