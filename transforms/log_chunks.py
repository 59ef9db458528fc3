"""The source of ordinary pipelines: a topic of Kafka as chunks, live or up to an end.

A splittable DoFn of our own. Its restriction is where it stands, so the runner's checkpoints carry offsets and nothing else. Each call of
`process` takes a bounded time, because a checkpoint waits for it, and runners do not split what runs.
"""

import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.transforms.core import DoFn, RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Duration, Timestamp

from transforms.chunks import CHUNK_RECORDS, Chunk
from transforms.flink_keys import spread_keys
from transforms.garbage import collect_rarely
from transforms.kafka_settings import KafkaSettings
from transforms.kafka_topics import KafkaTopics
from transforms.log_consumer import ConsumerPool, LogConsumer, LogGap, LogName
from transforms.log_messages import encode_run
from transforms.log_ranges import OPEN, LogRanges, LogRangesCoder, LogTracker, Range
from transforms.manual_watermarks import ManualWatermarks, advance

_LEAST_MS, _MOST_MS = MIN_TIMESTAMP.micros // 1000 + 1, MAX_TIMESTAMP.micros // 1000 - 1
_NEXT_WAIT = 0.005  # seconds, for more in the same turn
_BATCH = 4  # chunks that are taken from the consumer at once


@dataclass(frozen=True)
class Earliest:
    """The first records that are there."""


@dataclass(frozen=True)
class Latest:
    """The end of the log when the job starts: as a start, what comes after it; as an end, what was there."""


@dataclass(frozen=True)
class Committed:
    """Where a consumer group is; the earliest record where it has committed nothing. The group is told how far this reader is."""

    group: str

    def __post_init__(self) -> None:
        if not self.group:
            raise ValueError("Committed: needs the name of a group")


@dataclass(frozen=True)
class AtTime:
    """The first record appended at or after a time (ms since 1970 UTC); the end of the log where there is none."""

    ms: int

    def __post_init__(self) -> None:
        if type(self.ms) is not int or self.ms < 0:
            raise ValueError(f"AtTime: ms must be a whole number from 0, got {self.ms!r}")


@dataclass(frozen=True)
class AtOffsets:
    """An offset for each partition, as pairs (partition, offset)."""

    offsets: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        pairs = self.offsets.items() if isinstance(self.offsets, Mapping) else self.offsets
        object.__setattr__(self, "offsets", tuple(sorted(pairs)))
        for partition, offset in self.offsets:
            if type(partition) is not int or type(offset) is not int or partition < 0 or offset < 0:
                raise ValueError(f"AtOffsets: partitions and offsets are whole numbers from 0, got {self.offsets!r}")
        if len(dict(self.offsets)) < len(self.offsets):
            raise ValueError(f"AtOffsets: a partition stands twice in {self.offsets!r}")


Start = Earliest | Latest | Committed | AtTime | AtOffsets
End = Latest | AtTime | AtOffsets


@dataclass(frozen=True)
class ReadPace:
    """How a reader trades latency for throughput; it changes no result.

    turn_ms: the longest that one call of the runner takes (a checkpoint waits for it); a call ends before that when it has given chunks and
    nothing more is there. wait_ms: between two looks for the first record of a call; chunk_records: the most records of a chunk.
    """

    turn_ms: int = 500
    wait_ms: int = 100
    chunk_records: int = CHUNK_RECORDS

    def __post_init__(self) -> None:
        for name, most in (("turn_ms", 60_000), ("wait_ms", 10_000), ("chunk_records", 100_000)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"ReadPace: {name} must be a whole number from 1 to {most}, got {value!r}")


class ReadLog(beam.PTransform):
    """Root → PCollection[Chunk]: the records of a topic, those of each partition in offset order; bounded if there is an `end`.

    A chunk's timestamp is the smallest record time in it; its clock the largest of its partition before it, which at a start inside the
    log is that of the record before. The watermark is the smallest clock of all partitions: a partition without records, or without
    ticks, holds it back, unless `idle_ms` is given: a partition that has been at its end for that long counts as `idle_ms` behind this
    worker's time, and its clock goes along, so that what is then late is told as late; which records are late is then not the same at
    each replay.

    partitions: of the topic, must be right; groups: of partitions, each read by one consumer on one worker; compacted: whether offsets
    may be missing, as they are on a topic of upserts; append_time: False to read a topic with times of clients; from_clients: whether
    clients write it, so that origins are headers like others.

    In the run: LogGap where records are missing, retention has overtaken the reader, or the topic was cut or re-created; KafkaFailure;
    WrongTimestamps; BadHeaders.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        partitions: int,
        start: Start = Earliest(),
        end: End | None = None,
        groups: int = 4,
        idle_ms: int | None = None,
        compacted: bool = False,
        append_time: bool = True,
        from_clients: bool = False,
        pace: ReadPace = ReadPace(),
    ) -> None:
        super().__init__()
        if not isinstance(settings, KafkaSettings):
            raise ValueError(f"ReadLog: settings must be KafkaSettings, got {type(settings).__name__}")
        if not topic or type(topic) is not str:
            raise ValueError(f"ReadLog: topic must be a name, got {topic!r}")
        for name, value in (
            ("partitions", partitions),
            ("groups", groups),
            ("idle_ms", 1 if idle_ms is None else idle_ms),
        ):
            if type(value) is not int or value < 1:
                raise ValueError(f"ReadLog: {name} must be a whole number from 1, got {value!r}")
        if not isinstance(start, Start):
            raise ValueError(f"ReadLog: start must be Earliest, Latest, Committed, AtTime or AtOffsets, got {start!r}")
        if not isinstance(end, End | None):
            raise ValueError(f"ReadLog: end must be Latest, AtTime, AtOffsets or None, got {end!r}")
        for place in (start, end):
            if isinstance(place, AtOffsets) and [n for n, _ in place.offsets] != list(range(partitions)):
                raise ValueError(f"ReadLog: {place!r} must have an offset for each partition, 0 to {partitions - 1}")
        log = LogName(topic, partitions, compacted, append_time, from_clients)
        kind = _ReadLive if end is None else _ReadBounded
        split = split_partitions(partitions, groups)
        keys = spread_keys(topic, len(split))  # Flink places elements by their bytes
        self._read = kind(settings, log, dict(zip(keys, split, strict=True)), start, end, idle_ms, pace)

    def expand(self, root: Any) -> Any:
        return (
            root
            | "Groups" >> beam.Create(list(self._read.groups), reshuffle=False).with_output_types(bytes)
            | "Read" >> beam.ParDo(self._read).with_output_types(Chunk)
        )


def split_partitions(partitions: int, groups: int) -> list[tuple[int, ...]]:
    """Partition numbers in at most `groups` groups of almost the same size."""
    return [tuple(range(first, partitions, groups)) for first in range(min(groups, partitions))]


_POOL = ConsumerPool()


class _Read(DoFn, RestrictionProvider):
    def __init__(
        self,
        settings: KafkaSettings,
        log: LogName,
        groups: dict[bytes, tuple[int, ...]],
        start: Start,
        end: End | None,
        idle_ms: int | None,
        pace: ReadPace,
    ) -> None:
        self.settings, self.log, self.start, self.end = settings, log, start, end
        self.groups, self.idle_ms, self.pace = groups, idle_ms, pace
        self.group = start.group if isinstance(start, Committed) else ""

    # --- where to read: decided once, on a worker ---

    def initial_restriction(self, element: bytes) -> LogRanges:
        topics = KafkaTopics(self.settings)
        try:
            info = topics.info(self.log.topic)
            if info.partitions != self.log.partitions:
                raise LogGap(f"{info.name}: has {info.partitions} partitions, should have {self.log.partitions}")
            starts = self._offsets(topics, self.start)
            stops = [OPEN] * info.partitions if self.end is None else self._offsets(topics, self.end)
        finally:
            topics.close()
        ranges = (Range(n, starts[n], stops[n]) for n in self.groups[element])
        return LogRanges(info.id, tuple(ranges))

    def _offsets(self, topics: KafkaTopics, place: Start | End) -> list[int]:
        name = self.log.topic
        if isinstance(place, AtOffsets):
            return [offset for _, offset in place.offsets]
        if isinstance(place, AtTime):
            return topics.at_time(name, place.ms)
        marks = topics.watermarks(name)
        if isinstance(place, Committed):
            found = topics.committed(name, place.group)
            return [low if offset is None else offset for (low, _), offset in zip(marks, found, strict=True)]
        return [high if isinstance(place, Latest) else low for low, high in marks]

    def restriction_coder(self) -> coders.Coder:
        return LogRangesCoder()

    def restriction_size(self, element: bytes, restriction: LogRanges) -> float:
        return float(restriction.left)

    def create_tracker(self, restriction: LogRanges) -> LogTracker:
        return LogTracker(restriction)

    # --- a turn ---

    def _turn(self, tracker: Any, watermark: Any, finalizer: Any) -> Iterator[Any]:
        where: LogRanges = tracker.current_restriction()
        if where.done:
            return
        key = (self.settings, self.log, self.group, tuple(part.partition for part in where.ranges))
        consumer = _POOL.take(key, self._consumer, where)
        try:
            consumer.go_to(where)
            turn = _Turn(self, consumer, where)
            with collect_rarely():
                yield from turn.chunks(tracker, watermark)
        except BaseException:
            consumer.close()
            raise
        _POOL.give(key, consumer)
        if self.group and turn.moved:
            offsets = {part.partition: part.offset for part in turn.ranges.values()}
            finalizer.register(lambda: self._commit(key, offsets))

    def _consumer(self) -> LogConsumer:
        return LogConsumer(self.settings, self.log, self.group)

    def _commit(self, key: Any, offsets: dict[int, int]) -> None:
        """After the runner has made the chunks before these offsets durable."""
        consumer = _POOL.take(key, self._consumer)
        consumer.commit(offsets)
        _POOL.give(key, consumer)


class _Turn:
    """What one call of `process` does."""

    def __init__(self, read: _Read, consumer: LogConsumer, where: LogRanges) -> None:
        self.log, self.pace, self.idle_ms = read.log, read.pace, read.idle_ms
        self.consumer = consumer
        self.ranges = {part.partition: part for part in where.ranges}
        self.moved = False

    def chunks(self, tracker: Any, watermark: Any) -> Iterator[Any]:
        wait, size = self.pace.wait_ms / 1000, self.pace.chunk_records
        end = time.monotonic() + self.pace.turn_ms / 1000
        while True:
            taken = self.consumer.take(wait, _BATCH * size)
            for partition, messages in taken:
                stop = self.ranges[partition].stop
                if stop != OPEN and messages[-1].offset() >= stop:
                    messages = [message for message in messages if message.offset() < stop]
                for first in range(0, len(messages), size):
                    chunk = self._chunk(partition, messages[first : first + size], tracker)
                    if chunk is None:  # the runner has cut the rest off
                        return
                    yield chunk
            if not self._settle(tracker) or not self._advance(tracker, watermark):
                return
            if all(part.done for part in self.ranges.values()):
                return
            # Chunks go on when the call ends; while there are none, fewer calls are fewer checkpoints of the runner's own.
            if time.monotonic() > end or (self.moved and not taken):
                tracker.defer_remainder(Duration(0))
                return
            if self.moved:
                wait = _NEXT_WAIT

    def _chunk(self, partition: int, messages: list[Any], tracker: Any) -> Any:
        run = encode_run(messages, self.log.from_clients, self.log.append_time)
        part = self.ranges[partition]
        clock = max(part.clock, self.consumer.clocks.get(partition, -1))
        offset = messages[0].offset()
        ahead = messages[-1].offset() + 1
        to = part._replace(offset=ahead, clock=max(clock, run.most), checksum=zlib.crc32(run.last))
        if not self._claim(to, tracker):
            return None
        chunk = Chunk(self.log.topic, partition, offset, clock, run.count, run.payload)
        return TimestampedValue(chunk, _timestamp(run.least))

    def _settle(self, tracker: Any) -> bool:
        """Passes offsets that hold no record, and leaves what has come to its stop. False if the runner has cut the rest off."""
        for partition, part in self.ranges.items():
            position = self.consumer.positions.get(partition, part.offset)
            if part.stop != OPEN:
                position = min(position, part.stop)
            if position > part.offset and not self._claim(part._replace(offset=position, checksum=0), tracker):
                return False
            if self.ranges[partition].done:
                self.consumer.leave(partition)
        return True

    def _claim(self, to: Range, tracker: Any) -> bool:
        if not tracker.try_claim(to):
            return False
        self.moved = self.moved or to.offset > self.ranges[to.partition].offset
        self.ranges[to.partition] = to
        return True

    def _advance(self, tracker: Any, watermark: Any) -> bool:
        """Moves the watermark to the smallest clock of the partitions that are still read. False if the runner has cut the rest off."""
        idle, now = self.idle_ms, int(time.time() * 1000)
        clocks = []
        for part in list(self.ranges.values()):
            if part.done:
                continue
            clock = max(part.clock, self.consumer.clocks.get(part.partition, -1))
            if idle is not None and self.consumer.idle_ms(part.partition) >= idle and now - idle > clock:
                clock = now - idle  # which is what the next chunk must say, also in another process
                if not self._claim(part._replace(clock=clock), tracker):
                    return False
            clocks.append(clock)
        if clocks and min(clocks) >= 0:
            advance(watermark, _timestamp(min(clocks)))
        return True


def _timestamp(ms: int) -> Timestamp:
    """Within Beam's range: times of clients may lie anywhere."""
    return Timestamp(micros=1000 * min(max(ms, _LEAST_MS), _MOST_MS))


class _ReadBounded(_Read):
    def process(
        self,
        element: bytes,
        finalizer: Any = DoFn.BundleFinalizerParam,  # before those that Beam gives by name
        tracker: Any = DoFn.RestrictionParam(),
        watermark: Any = DoFn.WatermarkEstimatorParam(ManualWatermarks()),
    ) -> Iterator[Any]:
        yield from self._turn(tracker, watermark, finalizer)


class _ReadLive(_Read):
    @DoFn.unbounded_per_element()
    def process(
        self,
        element: bytes,
        finalizer: Any = DoFn.BundleFinalizerParam,  # before those that Beam gives by name
        tracker: Any = DoFn.RestrictionParam(),
        watermark: Any = DoFn.WatermarkEstimatorParam(ManualWatermarks()),
    ) -> Iterator[Any]:
        yield from self._turn(tracker, watermark, finalizer)
