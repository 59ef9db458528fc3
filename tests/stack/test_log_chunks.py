"""The source against a real broker: where it starts and ends, what it gives, and everything it must stop at."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.rails import Header, Origin, Record, Source
from stack.kafka import Broker
from transforms import log_chunks, log_consumer
from transforms.chunks import Chunk, unpack_chunk
from transforms.kafka_client import KafkaFailure
from transforms.kafka_headers import ORIGIN, encode_origin
from transforms.kafka_settings import KafkaSettings, kafka_settings
from transforms.kafka_topics import KafkaTopics
from transforms.log_chunks import AtOffsets, AtTime, Committed, Earliest, Latest, ReadLog, ReadPace
from transforms.log_consumer import LogGap
from transforms.log_messages import WrongTimestamps
from transforms.log_ranges import LogRanges
from transforms.topic_settings import TopicSettings

QUICK = ReadPace(turn_ms=300, wait_ms=150, chunk_records=7)


class Log:
    """A topic of its own for a test."""

    def __init__(self, broker: Broker, name: str, partitions: int = 2, **changes: Any) -> None:
        self.name, self.partitions = name, partitions
        self.settings: KafkaSettings = kafka_settings(broker.bootstrap, environment={})
        self.topics = KafkaTopics(self.settings)
        self.made = TopicSettings(name, partitions, replicas=1, in_sync=1, **changes)
        self.producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})
        self.make()

    def make(self) -> None:
        self.topics.delete([self.name])
        while self.topics.find([self.name]):
            time.sleep(0.02)
        self.topics.create([self.made])

    def write(self, partition: int, *values: str, key: str = "k", headers: Any = None) -> list[int]:
        """The append times."""
        times: list[int] = []
        for value in values:
            told = lambda _, message: times.append(message.timestamp()[1])  # noqa: E731
            self.producer.produce(self.name, value.encode(), key.encode(), partition, told, headers=headers)
        assert self.producer.flush(20) == 0
        return times

    def cut(self, partition: int, offset: int) -> None:
        """What retention does."""
        admin = AdminClient(dict(self.settings.properties))
        for future in admin.delete_records([TopicPartition(self.name, partition, offset)]).values():
            future.result()

    def read(self, **changes: Any) -> ReadLog:
        return ReadLog(self.settings, self.name, self.partitions, **{"pace": QUICK, **changes})


@pytest.fixture
def log(broker: Broker, request: pytest.FixtureRequest) -> Iterator[Log]:
    made = Log(broker, f"log-{request.node.name[:60].replace('[', '-').rstrip(']')}")
    yield made
    log_chunks._POOL.clear()
    made.topics.close()


class Live:
    """Drives the DoFn as a runner does, a turn at a time, from where the last one was cut."""

    def __init__(self, read: ReadLog, group: bytes = b"0,1") -> None:
        self.fn, self.group = read._read, group
        self.fn.groups = {group: tuple(map(int, group.split(b",")))}
        self.where: LogRanges = self.fn.initial_restriction(group)
        self.watermark = ManualWatermarkEstimator(MIN_TIMESTAMP)
        self.finalizers: list[Callable[[], None]] = []
        self.finished = False

    def register(self, callback: Callable[[], None]) -> None:
        self.finalizers.append(callback)

    def turn(self) -> list[Any]:
        tracker = ThreadsafeRestrictionTracker(self.fn.create_tracker(self.where))
        found = list(self.fn.process(self.group, self, RestrictionTrackerView(tracker), self.watermark))
        tracker.check_done()
        rest = tracker.deferred_status()
        self.finished = rest is None
        if rest is not None:
            coder = self.fn.restriction_coder()
            self.where = coder.decode(coder.encode(rest[0]))
        return found

    def elements(self, count: int) -> list[Any]:
        """Turns until so many records have come."""
        found: list[Any] = []
        end = time.monotonic() + 20
        while sum(element.value.count for element in found) < count:
            found += self.turn()
            assert time.monotonic() < end, f"{count} records, but only {found} came"
        return found

    def records(self, count: int) -> list[str]:
        return [value for element in self.elements(count) for value in values(element.value)]

    def values(self, turns: int = 1) -> list[str]:
        return [value for _ in range(turns) for chunk in self.turn() for value in values(chunk.value)]


def values(chunk: Chunk) -> list[str]:
    return [(record.value or b"").decode() for record in unpack_chunk(chunk)]


def bounded(make_pipeline: Any, read: ReadLog, expected: list[str]) -> None:
    with make_pipeline() as p:
        found = p | read | beam.FlatMap(values).with_output_types(str)
        assert_that(found, equal_to(expected))


# --- what it gives ---


def test_records_as_they_are(log: Log):
    origin = Origin(Source("accounts", "id", 1), 4, 0, None)
    (first,) = log.write(0, "a", headers=[(ORIGIN, encode_origin(origin))])
    (second,) = log.write(0, "b", key="z", headers=[("note", b"x")])
    (element,) = Live(log.read(), b"0").elements(2)
    chunk = element.value
    assert chunk[:5] == (log.name, 0, 0, -1, 2)
    assert unpack_chunk(chunk) == [
        Record(0, first, b"k", b"a", origin, ()),
        Record(1, second, b"z", b"b", None, (Header("note", b"x"),)),
    ]
    assert element.timestamp.micros == 1000 * min(first, second)
    clients = Live(log.read(from_clients=True), b"0").elements(2)[0].value
    assert unpack_chunk(clients)[0].headers == (Header(ORIGIN, encode_origin(origin)),)


def test_chunks_follow_one_another_with_their_clocks(log: Log):
    times = log.write(0, *map(str, range(20))) + log.write(0, "20")
    live = Live(log.read(), b"0")
    chunks = [element.value for element in live.elements(21)]
    assert [record.offset for chunk in chunks for record in unpack_chunk(chunk)] == list(range(21))
    assert all(chunk.count <= 7 for chunk in chunks)
    assert [chunk.clock for chunk in chunks] == [max(times[: chunk.offset], default=-1) for chunk in chunks]


def test_a_bounded_pipeline_reads_all_and_ends(make_pipeline: Any, log: Log):
    wanted = [f"{n}.{i}" for n in (0, 1) for i in range(50)]
    for n in (0, 1):
        log.write(n, *(f"{n}.{i}" for i in range(50)))
    bounded(make_pipeline, log.read(end=Latest()), wanted)
    bounded(make_pipeline, log.read(end=Latest(), groups=1), wanted)


def test_an_empty_topic_ends_at_once(make_pipeline: Any, log: Log):
    bounded(make_pipeline, log.read(end=Latest()), [])


def test_what_comes_after_the_launch_is_not_read(log: Log):
    log.write(0, "a")
    live = Live(log.read(end=Latest()))
    log.write(0, "b")
    log.write(1, "c")
    assert live.records(1) == ["a"] and (live.finished or live.values(5) == [])
    assert live.finished


# --- start and end ---


def test_start_and_end_at_offsets(make_pipeline: Any, log: Log):
    log.write(0, *"abcdef")
    log.write(1, *"uvwxyz")
    bounded(make_pipeline, log.read(start=AtOffsets({0: 2, 1: 5}), end=AtOffsets({0: 4, 1: 5})), ["c", "d"])


def test_start_and_end_at_times(make_pipeline: Any, log: Log):
    times = []
    for value in "abcd":
        times += log.write(0, value)
        time.sleep(0.005)
    bounded(make_pipeline, log.read(start=AtTime(times[1]), end=AtTime(times[3])), ["b", "c"])
    bounded(make_pipeline, log.read(start=AtTime(times[3] + 1), end=Latest()), [])


def test_latest_begins_with_what_comes(log: Log):
    (before,) = log.write(0, "old")
    live = Live(log.read(start=Latest()), b"0")
    assert live.values() == []
    log.write(0, "new")
    (element,) = live.elements(1)
    assert values(element.value) == ["new"]
    assert element.value.clock == before  # of the record before, which is not given


def test_a_group_is_told_and_gone_on_from(log: Log):
    log.write(0, "a", "b")
    live = Live(log.read(start=Committed("readers")))
    assert live.records(2) == ["a", "b"]
    assert log.topics.committed(log.name, "readers") == [None, None]  # not before the chunks are durable
    for callback in live.finalizers:
        callback()
    assert log.topics.committed(log.name, "readers") == [2, 0]
    log.write(0, "c")
    log.write(1, "d")
    assert sorted(Live(log.read(start=Committed("readers"))).records(2)) == ["c", "d"]


# --- going on ---


def test_a_turn_is_bounded(log: Log):
    log.write(0, *map(str, range(100)))
    live = Live(log.read(pace=ReadPace(turn_ms=1, wait_ms=200, chunk_records=3)), b"0")
    found, turns = [], 0
    while len(found) < 100:
        start = time.monotonic()
        found += live.values()
        assert time.monotonic() - start < 5
        turns += 1
    assert found == list(map(str, range(100))) and turns > 1


def test_one_consumer_for_all_turns(log: Log, monkeypatch: pytest.MonkeyPatch):
    made = []
    original = log_consumer.LogConsumer.__init__
    monkeypatch.setattr(
        log_consumer.LogConsumer, "__init__", lambda self, *args: made.append(1) or original(self, *args)
    )
    log.write(0, "a")
    live = Live(log.read(), b"0")
    for value in "abc":
        assert live.records(1) == [value]
        log.write(0, chr(ord(value) + 1))
    assert live.records(1) == ["d"]
    assert len(made) == 1


def test_another_process_goes_on_where_this_one_stood(log: Log):
    log.write(0, "a", "b")
    live = Live(log.read(), b"0")
    assert live.records(2) == ["a", "b"]
    log_chunks._POOL.clear()
    (third,) = log.write(0, "c")
    (element,) = live.elements(1)
    assert values(element.value) == ["c"]
    assert element.value.clock <= third


def test_a_turn_that_is_tried_again_gives_the_same(log: Log):
    log.write(0, "a", "b")
    live = Live(log.read(), b"0")
    before = live.where
    first = [element.value for element in live.elements(2)]
    live.where = before
    assert [element.value for element in live.elements(2)] == first


def test_a_cut_inside_a_turn_leaves_nothing_out(log: Log):
    log.write(0, *map(str, range(30)))
    live = Live(log.read(), b"0")
    tracker = ThreadsafeRestrictionTracker(live.fn.create_tracker(live.where))
    turn = live.fn.process(b"0", live, RestrictionTrackerView(tracker), live.watermark)
    found = values(next(turn).value)  # the first records are there within the wait of a turn
    _, rest = tracker.try_split(0)
    assert list(turn) == []
    tracker.check_done()
    live.where = rest[0] if isinstance(rest, tuple) and not isinstance(rest, LogRanges) else rest
    assert found + live.records(30 - len(found)) == list(map(str, range(30)))


# --- watermark ---


def test_the_watermark_is_the_smallest_clock(log: Log):
    (early,) = log.write(0, "a")
    time.sleep(0.01)
    live = Live(log.read())
    live.elements(1)
    assert live.watermark.current_watermark() == MIN_TIMESTAMP  # nothing is known of partition 1
    (late,) = log.write(1, "b")
    live.elements(1)
    assert live.watermark.current_watermark().micros == 1000 * early < 1000 * late
    (later,) = log.write(0, "c")
    live.elements(1)
    assert live.watermark.current_watermark().micros == 1000 * min(late, later)


def test_an_idle_partition_does_not_hold_it_back(log: Log):
    log.write(0, "a")
    live = Live(log.read(idle_ms=300))
    start = time.time() * 1000
    while live.watermark.current_watermark().micros < 1000 * (start - 200):
        live.turn()
        assert time.time() * 1000 < start + 20_000
    mark = live.watermark.current_watermark().micros // 1000
    log.write(1, "b")
    (element,) = live.elements(1)
    assert element.value.clock >= mark  # so what is late by the watermark is told as late
    assert element.timestamp.micros >= 1000 * mark


# --- what it stops at ---


def test_retention_that_has_overtaken_the_reader(log: Log):
    log.write(0, *"abcdef")
    live = Live(log.read(start=AtOffsets({0: 2, 1: 0})))
    log.cut(0, 4)
    with pytest.raises(
        LogGap, match=rf"^{log.name}/0: retention has overtaken the reader, which is at 2: the log begins at 4$"
    ):
        live.turn()


def test_retention_that_overtakes_a_reader_at_work(log: Log):
    log.write(0, *"ab")
    live = Live(log.read(), b"0")
    assert live.records(2) == ["a", "b"]
    log_chunks._POOL.clear()
    log.write(0, *"cdef")
    log.cut(0, 5)
    with pytest.raises(LogGap, match="retention has overtaken the reader, which is at 2: the log begins at 5"):
        live.turn()


def test_a_log_that_was_made_again(log: Log):
    log.write(0, *"abc")
    live = Live(log.read(), b"0")
    live.elements(3)
    log.make()
    log.write(0, *"abcdef")
    log_chunks._POOL.clear()
    with pytest.raises(LogGap, match=rf"^{log.name}: the topic was re-created: its id is "):
        live.turn()


def test_a_log_that_was_made_again_under_a_consumer(log: Log, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_consumer, "CHECK_SECONDS", 0.0)
    log.write(0, *"abc")
    live = Live(log.read(), b"0")
    live.elements(3)
    log.make()
    log.write(0, *"abcdef")
    with pytest.raises((LogGap, KafkaFailure), match=r"re-created|no such topic|no topic"):
        live.values(20)


def test_a_log_that_ends_before_the_reader(log: Log):
    log.write(0, *"abc")
    live = Live(log.read(), b"0")
    live.elements(3)
    live.where = live.where._replace(ranges=(live.where.ranges[0]._replace(offset=9),))
    with pytest.raises(LogGap, match=rf"^{log.name}/0: the log was cut: it ends at 3, and the reader is at 9$"):
        live.turn()


def test_another_record_before_the_reader(log: Log):
    log.write(0, *"abc")
    live = Live(log.read(), b"0")
    live.elements(3)
    log_chunks._POOL.clear()
    log.write(0, "d")
    live.where = live.where._replace(ranges=(live.where.ranges[0]._replace(checksum=12345),))
    with pytest.raises(LogGap, match=rf"^{log.name}/0: the record at 2 is another one than was read"):
        live.turn()


def test_transactions_leave_gaps(log: Log, broker: Broker):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "t"})
    producer.init_transactions(20)
    for value in (b"a", b"b"):
        producer.begin_transaction()
        producer.produce(log.name, value, partition=0)
        producer.commit_transaction(20)
    with pytest.raises(LogGap, match=rf"^{log.name}/0: expected offset 1, but 2 came$"):
        Live(log.read(), b"0").values(5)


def test_a_compacted_log_may_have_gaps(broker: Broker, log: Log):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "u"})
    producer.init_transactions(20)
    for value in (b"a", b"b"):
        producer.begin_transaction()
        producer.produce(log.name, value, partition=0)
        producer.commit_transaction(20)
    live = Live(log.read(compacted=True, end=Latest()), b"0")
    assert live.records(2) == ["a", "b"] and (
        live.finished or live.values() == []
    )  # the marker at the end is no record
    going = Live(log.read(compacted=True), b"0")
    assert [record.offset for each in going.elements(2) for record in unpack_chunk(each.value)] == [0, 2]
    assert going.values(2) == [] and going.where.ranges[0].offset == 4


def test_wrong_number_of_partitions(log: Log):
    with pytest.raises(LogGap, match=rf"^{log.name}: has 2 partitions, should have 3$"):
        Live(ReadLog(log.settings, log.name, 3))


def test_times_of_clients(broker: Broker, log: Log):
    log.made = TopicSettings(log.name, 2, append_time=False, replicas=1, in_sync=1)
    log.make()
    log.write(0, "a")
    with pytest.raises(WrongTimestamps, match=r"message.timestamp.type is not LogAppendTime$"):
        Live(log.read(), b"0").values(5)
    assert Live(log.read(append_time=False), b"0").records(1) == ["a"]


def test_errors_are_one_line_at_the_end_of_a_job(make_pipeline: Any, log: Log):
    log.write(0, *"abcdef")
    log.cut(0, 4)
    with pytest.raises(Exception, match="retention has overtaken the reader"), make_pipeline() as p:
        p | log.read(start=Earliest(), end=AtOffsets({0: 6, 1: 0})) | beam.Map(len)
        p | "Gone" >> log.read(start=AtOffsets({0: 1, 1: 0}), end=Latest())
