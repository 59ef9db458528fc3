"""What the reader makes of messages and errors; tests/stack has the same against a real broker."""

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from schemas.rails import Header
from transforms import log_reader
from transforms.fetched import Fetched
from transforms.fold import Gap
from transforms.kafka_client import topic_id
from transforms.log_reader import Bounds, LogReader, ReadFailed, TopicLookup, WrongTopic


class FakeConsumer:
    """Gives what it is told, in one piece."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self.properties, self.messages, self.assigned = properties, list[Message](), list[Any]()
        self.watermarks: Any = (0, 100)

    def assign(self, partitions: Sequence[Any]) -> None:
        self.assigned.append([(place.partition, place.offset) for place in partitions])

    def poll(self, timeout: float) -> Message | None:
        return self.messages.pop(0) if self.messages else None

    def consume(self, most: int, timeout: float) -> list[Message]:
        assert timeout == 0, "it would wait its whole timeout"
        given, self.messages = self.messages[:most], self.messages[most:]
        return given

    def get_watermark_offsets(self, partition: Any, timeout: float = 0, cached: bool = False) -> Any:
        if isinstance(self.watermarks, KafkaError):
            raise KafkaException(self.watermarks)
        return self.watermarks

    def commit(self, offsets: Any, asynchronous: bool) -> None:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> FakeConsumer:
    made = FakeConsumer({})

    def make(properties: dict[str, Any]) -> FakeConsumer:
        made.properties = properties
        return made

    monkeypatch.setattr(log_reader, "Consumer", make)
    return made


@pytest.fixture
def reader(consumer: FakeConsumer) -> LogReader:
    made = LogReader({"bootstrap.servers": "b", "fetch.wait.max.ms": "7"}, "t", "g")
    made.seek({0: 5, 1: 9})
    return made


def message(partition: int, offset: int, headers: Any = None, kind: int = 2) -> Message:
    value = b"%d" % offset
    return Message("t", partition, offset, key=b"k", value=value, headers=headers, timestamp=(kind, 1000 + offset))


def failure(code: int, partition: int = 0, offset: int = -1001) -> Message:
    return Message("t", partition, offset, error=KafkaError(code))


def test_properties(reader: LogReader, consumer: FakeConsumer) -> None:
    properties = consumer.properties
    assert properties["auto.offset.reset"] == "error" and properties["enable.auto.commit"] is False
    assert properties["fetch.wait.max.ms"] == "7", "what is written into the properties is meant"


def test_records_are_columns_by_partition(reader: LogReader, consumer: FakeConsumer) -> None:
    consumer.messages = [message(0, 5), message(0, 6, [("x", b"y")]), message(1, 9), message(0, 7)]
    found = reader.read(10, 0)
    assert [(f.partition, f.first, len(f), f.origins, f.values) for f in found] == [
        (0, 5, 2, None, [b"5", b"6"]),
        (1, 9, 1, [None], [b"9"]),
        (0, 7, 1, [None], [b"7"]),
    ]
    assert [r.headers for r in found[0].records()] == [(), (Header("x", b"y"),)]
    assert found[1].records()[0] == (9, 1009, b"k", b"9", None, ())
    assert found[1].traces == {}


def test_at_most_so_many(reader: LogReader, consumer: FakeConsumer) -> None:
    consumer.messages = [message(0, 5 + n) for n in range(5)]
    assert [len(f) for _ in range(3) for f in reader.read(2, 0)] == [2, 2, 1]
    consumer.messages = [message(0, 10), message(0, 11)]
    assert len(reader.read(1, 0)[0]) == 1


def test_assigned_only_where_it_does_not_stand(reader: LogReader, consumer: FakeConsumer) -> None:
    consumer.messages = [message(0, 5)]
    reader.read(10, 0)
    reader.seek({0: 6, 1: 9})
    reader.seek({0: 6})
    reader.seek({0: 6, 1: 9})
    assert consumer.assigned == [[(0, 5), (1, 9)], [(0, 6)], [(0, 6), (1, 9)]]


@pytest.mark.parametrize("offsets", [(6,), (5, 7), (5, 5), (4,)])
def test_a_gap(reader: LogReader, consumer: FakeConsumer, offsets: Sequence[int]) -> None:
    consumer.messages = [message(0, offset) for offset in offsets]
    with pytest.raises(Gap, match=rf"t/0/\d: expected this offset, got {offsets[-1]}"):
        reader.read(10, 0)


def test_records_of_what_is_not_read_any_more(reader: LogReader, consumer: FakeConsumer) -> None:
    consumer.messages = [message(3, 0), message(0, 5)]
    assert [f.values for f in reader.read(10, 0)] == [[b"5"]]


def test_errors_that_pass(reader: LogReader, consumer: FakeConsumer) -> None:
    consumer.messages = [
        message(0, 5),
        failure(KafkaError._TRANSPORT),
        message(0, 6),
        failure(KafkaError._ALL_BROKERS_DOWN, -1),
    ]
    assert [f.values for f in reader.read(10, 0)] == [[b"5", b"6"]]


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, WrongTopic, "t: there is no such topic"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ReadFailed, "t: .*authorization"),
        (
            KafkaError._AUTO_OFFSET_RESET,
            Gap,
            "t/0/5: the log begins at 6: retention has overtaken this reader, and 1 records",
        ),
    ],
)
def test_errors_that_do_not(
    reader: LogReader, consumer: FakeConsumer, code: int, error: type[Exception], text: str
) -> None:
    consumer.watermarks = (6, 100)
    consumer.messages = [failure(code)]
    with pytest.raises(error, match=f"(?i){text}"):
        reader.read(10, 0)


def test_out_of_range_though_the_log_has_it(reader: LogReader, consumer: FakeConsumer) -> None:
    consumer.messages = [failure(KafkaError._AUTO_OFFSET_RESET)]
    with pytest.raises(ReadFailed):
        reader.read(10, 0)


def test_bounds(reader: LogReader, consumer: FakeConsumer) -> None:
    assert reader.bounds([0, 1]) == {0: Bounds(0, 100), 1: Bounds(0, 100)}
    assert reader.end_seen(0) == 100
    consumer.watermarks = None
    assert reader.end_seen(0) == -1
    with pytest.raises(ReadFailed, match="t/0: no answer within 10 s"):
        reader.bounds([0])
    consumer.watermarks = KafkaError(KafkaError._TRANSPORT)
    with pytest.raises(ReadFailed, match="t/0: "):
        reader.bounds([0])
    consumer.watermarks = KafkaError(KafkaError._UNKNOWN_PARTITION)
    with pytest.raises(WrongTopic, match="t/0: there is no such topic or partition"):
        reader.bounds([0])


def test_telling_the_group_may_fail(reader: LogReader) -> None:
    reader.commit({0: 5})


def test_parts_of_what_was_fetched() -> None:
    read = [(None, (), None), (None, (), b"a" * 32), (None, (), None)]
    fetched = Fetched(0, 5, [1, 2, 3], [b"k"] * 3, [b"v"] * 3, read)
    assert fetched.before(8) is fetched and fetched.before(5) is None
    part = fetched.before(7)
    assert part is not None and part.times == [1, 2] and part.traces == {6: b"a" * 32} and part.origins == [None, None]
    plain = Fetched(0, 5, [1, 2, 3], [b"k"] * 3, [b"v"] * 3).before(6)
    assert plain is not None and plain.origins == [None] and len(plain.records()) == 1
    assert Fetched(0, 5, [1], [b"k"], [b"v"], [(None, (Header("h", b""),), None)]).origins is None


def test_topic_ids_are_names_of_files() -> None:
    assert topic_id("2NboYab2Qim+vuDuvDD/jQ") == "2NboYab2Qim-vuDuvDD_jQ"


class TestTopicLookup:
    class Asked:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def result(self, timeout: float) -> Any:
            raise self.error

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (KafkaException(KafkaError(KafkaError._TRANSPORT)), "t: .*transport"),
            (TimeoutError(), "t: no answer within 3 s"),
        ],
    )
    def test_no_answer(self, error: BaseException, text: str) -> None:
        info = TopicLookup({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "t", 3)
        info._asked = self.Asked(error)
        with pytest.raises(ReadFailed, match=f"(?i){text}"):
            info.answer()
