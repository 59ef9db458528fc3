"""The writer and the reader of a lane against a real broker: delivery errors, gaps, cut and re-created topics."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.rails import Header, Origin, Position, Source
from stack.kafka import Broker
from transforms.fetched import Fetched
from transforms.fold import Gap
from transforms.kafka_headers import BadHeaders, HeaderWriter, Headings
from transforms.log_reader import Bounds, LogReader, ReadKnobs, TopicLookup, WrongTopic, check_within
from transforms.log_writer import LogWriter, OutputTooLarge, WriteFailed, WriteKnobs

QUIET = {"log_level": 0}
APPEND = {"message.timestamp.type": "LogAppendTime"}

MakeTopic = Callable[..., str]


@pytest.fixture
def settings(broker: Broker) -> dict[str, Any]:
    return {"bootstrap.servers": broker.bootstrap, **QUIET}


@pytest.fixture
def admin(settings: dict[str, Any]) -> Iterator[AdminClient]:
    client = AdminClient(settings)
    yield client


@pytest.fixture
def make_topic(admin: AdminClient) -> MakeTopic:
    def make(partitions: int = 2, name: str = "", **config: str) -> str:
        name = name or f"t-{uuid.uuid4().hex[:8]}"
        config = {key.replace("_", "."): value for key, value in config.items()}
        admin.create_topics([NewTopic(name, partitions, 1, config={**APPEND, **config})])[name].result(10)
        return name

    return make


def write(settings: dict[str, Any], topic: str, partition: int, *values: bytes | None, headers: Any = None) -> None:
    producer = Producer({**settings, "linger.ms": 0})
    for value in values:
        producer.produce(topic, value, b"k", partition, headers=headers)
    assert producer.flush(10) == 0


def read(reader: LogReader, count: int, most: int = 1000) -> list[Fetched]:
    """Fetched until there are `count` records."""
    found: list[Fetched] = []
    end = time.monotonic() + 10
    while sum(map(len, found)) < count:
        assert time.monotonic() < end, f"got {sum(map(len, found))} of {count} records"
        found += reader.read(most, 0.2)
    return found


class TestReading:
    def test_records_by_partition(self, settings: dict[str, Any], make_topic: MakeTopic) -> None:
        topic = make_topic()
        before = time.time() * 1000
        for partition in (0, 1):
            write(settings, topic, partition, b"1", None, b"3", headers=[("x", b"y")])
        reader = LogReader(settings, topic, "g")
        reader.seek({0: 1, 1: 0})
        records = {n: [r for f in read(reader, 5) for r in f.records() if f.partition == n] for n in (0,)}
        assert [(r.offset, r.key, r.value, r.headers) for r in records[0]] == [
            (1, b"k", None, (Header("x", b"y"),)),
            (2, b"k", b"3", (Header("x", b"y"),)),
        ]
        assert all(before - 1000 < record.at < time.time() * 1000 + 1000 for record in records[0])
        assert reader.bounds([0, 1]) == {0: Bounds(0, 3), 1: Bounds(0, 3)}
        assert reader.end_seen(0) == 3
        assert reader.read(10, 0.05) == []
        reader.close()

    def test_steps_are_bounded_and_seeking_where_it_stands_keeps_what_is_fetched(
        self, settings: dict[str, Any], make_topic: MakeTopic
    ) -> None:
        topic = make_topic(1)
        write(settings, topic, 0, *[b"%d" % n for n in range(100)])
        reader = LogReader(settings, topic, "g")
        values, at = [], 0
        while at < 100:
            reader.seek({0: at})
            for fetched in reader.read(7, 1.0):
                assert len(fetched) <= 7 and fetched.first == at
                assert fetched.origins == [None] * len(fetched) and fetched.traces == {}
                values += fetched.values
                at += len(fetched)
        assert values == [b"%d" % n for n in range(100)]
        reader.seek({0: 40})
        assert reader.read(1, 5.0)[0].values == [b"40"]
        reader.seek({})
        assert reader.read(5, 0.3) == []
        reader.close()

    def test_origins(self, settings: dict[str, Any], make_topic: MakeTopic) -> None:
        topic = make_topic(1)
        headers = HeaderWriter(Source("s", "t", 1), Headings()).of_output(5, 1, (4, 0), 0, "", b"e" * 32)
        write(settings, topic, 0, b"plain")
        write(settings, topic, 0, b"ours", headers=headers)
        reader = LogReader(settings, topic, "g")
        reader.seek({0: 0})
        time.sleep(0.5)
        (one,) = read(reader, 2)
        origins = [None, Origin(Source("s", "t", 1), 5, 1, Position(4, 0))]
        assert [r.origin for r in one.records()] == origins and one.origins == origins
        assert one.traces == {1: b"e" * 32}
        write(settings, topic, 0, b"bad", headers=[("rails-origin", b"x")])
        with pytest.raises(BadHeaders, match=rf"{topic}/0/2: rails-origin"):
            read(reader, 1)
        reader.close()
        clients = LogReader(settings, topic, "g", from_clients=True)
        clients.seek({0: 2})
        assert read(clients, 1)[0].records()[0].headers == (Header("rails-origin", b"x"),)
        clients.close()

    def test_without_append_time(self, settings: dict[str, Any], make_topic: MakeTopic) -> None:
        topic = make_topic(1, message_timestamp_type="CreateTime")
        write(settings, topic, 0, b"1")
        reader = LogReader(settings, topic, "g")
        reader.seek({0: 0})
        with pytest.raises(WrongTopic, match=f"{topic}/0/0: has no append time"):
            read(reader, 1)
        reader.close()

    def test_transactions_leave_gaps(self, settings: dict[str, Any], make_topic: MakeTopic) -> None:
        topic = make_topic(1)
        producer = Producer({**settings, "transactional.id": uuid.uuid4().hex})
        producer.init_transactions(30)
        for _ in range(2):
            producer.begin_transaction()
            producer.produce(topic, b"v", partition=0)
            producer.commit_transaction(30)
        reader = LogReader(settings, topic, "g")
        reader.seek({0: 0})
        with pytest.raises(Gap, match=f"{topic}/0/1: expected this offset, got 2: records are missing"):
            read(reader, 2)
        reader.close()

    @pytest.mark.parametrize(
        ("offset", "what"), [(0, "the log begins at 3: retention .* 3 records"), (9, "the log ends at 6")]
    )
    def test_offsets_that_are_not_there(
        self, settings: dict[str, Any], admin: AdminClient, make_topic: MakeTopic, offset: int, what: str
    ) -> None:
        topic = make_topic(1)
        write(settings, topic, 0, *[b"v"] * 6)
        admin.delete_records([TopicPartition(topic, 0, 3)])[TopicPartition(topic, 0, 3)].result(10)
        reader = LogReader(settings, topic, "g")
        reader.seek({0: offset})
        with pytest.raises(Gap, match=rf"{topic}/0/{offset}: {what}"):
            read(reader, 1)
        reader.close()

    def test_a_topic_that_is_deleted(self, settings: dict[str, Any], admin: AdminClient, make_topic: MakeTopic) -> None:
        topic = make_topic(1)
        write(settings, topic, 0, b"v")
        reader = LogReader(settings, topic, "g")
        reader.seek({0: 0})
        read(reader, 1)
        admin.delete_topics([topic])[topic].result(10)
        with pytest.raises(WrongTopic, match="there is no such topic"):
            reader.bounds([0])
        reader.close()

    def test_offsets_are_told_to_the_group(self, settings: dict[str, Any], make_topic: MakeTopic) -> None:
        topic = make_topic(2)
        reader = LogReader(settings, topic, "progress")
        reader.seek({0: 0, 1: 0})
        reader.commit({0: 5, 1: 7})
        reader.read(1, 0.5)
        reader.close()
        other = Consumer({**settings, "group.id": "progress"})
        found = other.committed([TopicPartition(topic, n) for n in (0, 1)], 10)
        assert [place.offset for place in found] == [5, 7]
        other.close()


class TestTopicLookup:
    def test_a_topic_of_the_same_name_has_another_id(
        self, settings: dict[str, Any], admin: AdminClient, make_topic: MakeTopic
    ) -> None:
        topic = make_topic(3)
        info = TopicLookup(settings, topic, 10)
        assert not info.answered
        info.ask()
        first = info.answer()
        assert first[1] == 3 and len(first[0]) == 22
        admin.delete_topics([topic])[topic].result(10)
        time.sleep(0.5)
        make_topic(3, topic)
        info.ask()
        while not info.answered:
            time.sleep(0.01)
        assert info.answer()[0] != first[0]

    def test_none(self, settings: dict[str, Any]) -> None:
        info = TopicLookup(settings, "nowhere", 10)
        info.ask()
        with pytest.raises(WrongTopic, match="nowhere: there is no such topic"):
            info.answer()


class TestWriting:
    def test_all_arrives_in_order(self, settings: dict[str, Any], make_topic: MakeTopic, caplog: Any) -> None:
        topic = make_topic(2)
        with caplog.at_level(logging.WARNING):
            writer = LogWriter(settings, WriteKnobs(buffered=50))  # so the broker must take some before all is given
            writer.write([(topic, n % 2, b"k", b"%d" % n, [("h", b"%d" % n)]) for n in range(1000)])
            writer.poll()
            writer.flush()
        assert "experimental" not in caplog.text
        reader = LogReader(settings, topic, "g", from_clients=True)
        reader.seek({0: 0, 1: 0})
        records = [(f.partition, r) for f in read(reader, 1000) for r in f.records()]
        for partition in (0, 1):
            values = [r.value for number, r in records if number == partition]
            assert values == [b"%d" % n for n in range(partition, 1000, 2)]
        assert all(record.headers == (Header("h", record.value or b""),) for _, record in records)
        reader.close()

    def test_too_large_for_us(self, settings: dict[str, Any], make_topic: MakeTopic) -> None:
        topic = make_topic(1)
        writer = LogWriter(settings, WriteKnobs(max_bytes=100_000))
        with pytest.raises(OutputTooLarge, match=f"{topic}/0: a value of 96000 bytes, at most 95904 can be written"):
            writer.write([(topic, 0, None, bytes(96_000), [])])
        writer.write([(topic, 0, None, bytes(95_904), [])])
        writer.flush()

    def test_too_large_for_the_topic(self, settings: dict[str, Any], make_topic: MakeTopic) -> None:
        """The broker refuses: the writer ends, with everything that was to follow."""
        topic = make_topic(1, max_message_bytes="1000")
        writer = LogWriter(settings, WriteKnobs(compression="none"))
        writer.write([(topic, 0, None, b"a", [])])
        writer.flush()
        writer.write([(topic, 0, None, bytes(5000), [])])
        with pytest.raises(WriteFailed, match=r"[Gg]ap-less|size too large"):
            writer.flush()
        with pytest.raises(WriteFailed):
            writer.write([(topic, 0, None, b"b", [])])
        reader = LogReader(settings, topic, "g")
        assert reader.bounds([0]) == {0: Bounds(0, 1)}
        reader.close()

    def test_a_partition_that_is_not_there(self, settings: dict[str, Any], make_topic: MakeTopic) -> None:
        topic = make_topic(1)
        writer = LogWriter(settings)
        writer.write([(topic, 0, None, b"a", [])])
        writer.flush()
        with pytest.raises(WriteFailed, match=f"{topic}/5: .*[Pp]artition"):
            writer.write([(topic, 5, None, b"b", [])])
            writer.flush()

    def test_no_broker(self) -> None:
        writer = LogWriter({"bootstrap.servers": "127.0.0.1:1", **QUIET}, WriteKnobs(flush_timeout_s=0.3, buffered=1))
        writer.write([("t", 0, None, b"a", [])])
        with pytest.raises(WriteFailed, match="no room for more than 1 records"):
            writer.write([("t", 0, None, b"b", [])])
        writer = LogWriter({"bootstrap.servers": "127.0.0.1:1", **QUIET}, WriteKnobs(flush_timeout_s=0.3))
        writer.write([("t", 0, None, b"a", [])])
        with pytest.raises(WriteFailed, match=r"1 records not acknowledged within 0\.3 s"):
            writer.flush()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WriteKnobs(linger_ms=-1), "linger_ms and hold_ms must be >= 0"),
        (lambda: WriteKnobs(flush_timeout_s=0), "flush_timeout_s > 0, got 0, 0, 0"),
        (lambda: WriteKnobs(batch_bytes=0), "batch_bytes and buffered must be >= 1"),
        (lambda: WriteKnobs(max_bytes=8192), "max_bytes > 8192, got 1000000, 1000000, 8192"),
        (lambda: WriteKnobs(compression="zip"), "compression must be one of none, .* got 'zip'"),
        (lambda: ReadKnobs(buffered=0), "must be above 0"),
        (lambda: ReadKnobs(timeout_s=0), "must be above 0"),
    ],
)
def test_knobs(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_where_a_log_can_be_read() -> None:
    for offset in (3, 7, 10):
        check_within("t", 0, offset, Bounds(3, 10))
