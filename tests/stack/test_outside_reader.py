"""A reader outside against a real broker: each record once, through repeats, crashes and new consumers; loud when one is missing."""

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.rails import Origin, Position, Source
from stack.kafka import Broker
from transforms import outside_reader
from transforms.fold import ForkedWriter, Gap, MissingRecord
from transforms.kafka_client import KafkaFailure
from transforms.kafka_headers import ORIGIN, BadHeaders, encode_origin
from transforms.kafka_settings import kafka_settings
from transforms.kafka_topics import KafkaTopics
from transforms.outside_reader import FileMarks, MarksError, OutsideReader
from transforms.topic_settings import TopicSettings

WRITER, OTHER = Source("accounts", "topic-id", 0), Source("accounts", "topic-id", 1)


class Log:
    def __init__(self, broker: Broker, name: str, folder: Path, append_time: bool = True) -> None:
        self.name, self.settings = name, kafka_settings(broker.bootstrap, environment={})
        self.topics = KafkaTopics(self.settings)
        self.made = TopicSettings(name, 2, append_time=append_time, replicas=1, in_sync=1)
        self.marks = FileMarks(folder / "marks.json")
        self.producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})
        self.make()

    def make(self) -> None:
        self.topics.delete([self.name])
        while self.topics.find([self.name]):
            time.sleep(0.02)
        self.topics.create([self.made])

    def write(
        self,
        value: str,
        at: int,
        index: int = 0,
        prev: tuple[int, int] | None = None,
        source: Source = WRITER,
        partition: int = 0,
    ) -> None:
        origin = Origin(source, at, index, None if prev is None else Position(*prev))
        self.raw(value, [(ORIGIN, encode_origin(origin))], partition)

    def raw(self, value: str, headers: Any = None, partition: int = 0) -> None:
        self.producer.produce(self.name, value.encode(), b"k", partition, headers=headers)
        assert self.producer.flush(20) == 0

    def reader(self, **options: Any) -> OutsideReader:
        return OutsideReader(self.settings, self.name, self.marks, wait=0.2, **options)

    def values(self, save: bool = True, **options: Any) -> list[str]:
        reader = self.reader(**options)
        found = [(each.record.value or b"").decode() for each in reader.until_end()]
        if save:
            reader.save()
        reader.close()
        return found


@pytest.fixture
def log(broker: Broker, request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    return Log(broker, f"outside-{request.node.name[5:70]}", tmp_path)


def test_repeats_are_dropped_also_by_the_next_reader(log: Log):
    log.write("a", 0)
    log.write("b", 0, 1, (0, 0))
    log.write("a", 0)  # a writer that was restored says it again
    log.write("b", 0, 1, (0, 0))
    log.write("c", 3, 0, (0, 1))
    log.write("x", 0, source=OTHER, partition=1)
    assert sorted(log.values()) == ["a", "b", "c", "x"]
    log.write("c", 3, 0, (0, 1))
    log.write("d", 4, 0, (3, 0))
    assert log.values() == ["d"]
    assert log.values() == []


def test_what_was_not_saved_is_given_again_and_nothing_else(log: Log):
    for n in range(5):
        log.write(str(n), n, 0, (n - 1, 0) if n else None)
    reader = log.reader()
    first = list(itertools.islice(reader, 2))
    assert [each.record.value for each in first] == [b"0", b"1"]
    reader.save()
    assert next(iter(reader)).record.value == b"2"  # and it crashes
    reader.close()
    assert log.values() == ["2", "3", "4"]


def test_it_says_whether_more_was_fetched(log: Log):
    """So whoever saves where there is no more has everything saved when the log has been read to its end."""
    for n in range(5):
        log.write(str(n), n, 0, (n - 1, 0) if n else None)
    reader = log.reader()
    given = []
    for each in itertools.islice(reader, 5):
        given.append(each.record.value)
        if not reader.more:
            reader.save()
    assert len(given) == 5 and not reader.more
    reader.close()
    assert log.values() == []


def test_an_iterator_can_be_left_and_taken_up(log: Log):
    for n in range(4):
        log.raw(str(n))
    reader = log.reader()
    assert [next(iter(reader)).record.value for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    log.raw("4")
    assert next(iter(reader)).record.value == b"4"


def test_records_without_origin_are_always_new(log: Log):
    log.raw("a")
    log.raw("a", [("note", b"x")])
    reader = log.reader()
    assert [each.record.headers for each in reader.until_end()] == [(), (("note", b"x"),)]


def test_only_what_was_there(log: Log):
    log.raw("a")
    reader = log.reader()
    ends = reader.until_end()
    assert next(ends).record.value == b"a"
    log.raw("b")
    assert list(ends) == []
    assert [each.record.value for each in reader.until_end()] == [b"b"]


def test_a_missing_record_stops_it(log: Log):
    log.write("a", 0)
    log.write("c", 2, 0, (1, 0))
    with pytest.raises(MissingRecord, match=rf"^{log.name}/0/1: accounts/topic-id/0 wrote 1.0 before 2.0"):
        log.values()


def test_two_histories_stop_it(log: Log):
    log.write("a", 0)
    log.write("b", 1, 0, (0, 0))
    log.write("z", 2, 0, (0, 0))
    with pytest.raises(ForkedWriter):
        log.values()


def cut(log: Log, offset: int) -> None:
    admin = AdminClient(dict(log.settings.properties))
    for future in admin.delete_records([TopicPartition(log.name, 0, offset)]).values():
        future.result()


def test_a_log_without_its_beginning(log: Log):
    for n in range(4):
        log.write(str(n), n, 0, (n - 1, 0) if n else None)
    cut(log, 2)
    with pytest.raises(Gap, match=rf"^{log.name}/0: the log begins at 2, and there are no marks"):
        log.values()
    assert log.values(from_oldest=True) == ["2", "3"]
    log.write("6", 6, 0, (5, 0))
    with pytest.raises(MissingRecord):  # a writer that is known is held to its word
        log.values(from_oldest=True)


def test_retention_overtakes_the_reader(log: Log):
    log.raw("a")
    assert log.values() == ["a"]
    for value in "bcd":
        log.raw(value)
    cut(log, 3)
    with pytest.raises(Gap, match=rf"^{log.name}/0: the marks are at 1, the log holds 3 to 4$"):
        log.values()


def test_retention_overtakes_the_reader_at_work(log: Log):
    for value in "abc":
        log.raw(value)
    cut(log, 2)
    reader = log.reader(from_oldest=True)
    reader._consumer.assign([TopicPartition(log.name, 0, 0)])  # as if it had stood there before
    with pytest.raises(Gap, match=rf"^{log.name}/0: the next record is not there any more: retention has overtaken"):
        next(iter(reader))


def test_another_topic_of_the_name(log: Log):
    log.raw("a")
    log.values()
    log.make()
    log.raw("a")
    with pytest.raises(Gap, match="the topic was re-created"):
        log.values()


def test_marks_that_are_none(log: Log):
    log.raw("a")
    log.marks.save(b"{}")
    with pytest.raises(MarksError, match=rf"^{log.name}: the saved marks are none$"):
        log.reader()
    log.marks.path.unlink()
    log.values()
    saved = log.marks.path.read_bytes()
    log.marks.save(saved.replace(log.name.encode(), b"another", 1))
    with pytest.raises(MarksError, match="are of the topic another"):
        log.reader()
    log.marks.save(saved.replace(b'"partition": 1, "offset"', b'"partition": 5, "offset"', 1))
    with pytest.raises(Gap, match="has 2 partitions, the marks have 2"):
        log.reader()


def test_gaps_bad_origins_and_times_of_clients(log: Log, broker: Broker, tmp_path: Path):
    log.raw("a", [(ORIGIN, b"nobody")])
    with pytest.raises(BadHeaders, match=rf"^{log.name}/0/0: "):
        log.values()
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "o"})
    log.make()
    producer.init_transactions(20)
    for value in (b"a", b"b"):
        producer.begin_transaction()
        producer.produce(log.name, value, partition=0)
        producer.commit_transaction(20)
    with pytest.raises(Gap, match="expected offset 1, got 2"):
        log.values()
    log.make()
    producer.begin_transaction()
    producer.produce(log.name, b"a", partition=0)
    producer.commit_transaction(20)
    with pytest.raises(Gap, match="expected offset 1, but the log ends at 2"):
        log.values()
    times = Log(broker, "outside-times", tmp_path / "times", append_time=False)
    times.raw("a")
    with pytest.raises(Gap, match="has no append time"):
        times.values()


def test_the_topic_is_made_again(log: Log, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outside_reader, "CHECK_SECONDS", 0.0)
    reader = log.reader()
    log.make()
    with pytest.raises(Gap, match="the topic was re-created"):
        next(iter(reader))


def test_the_topic_goes_away(log: Log, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outside_reader, "CHECK_SECONDS", 0.5)
    log.raw("a")
    reader = log.reader()
    assert next(iter(reader)).record.value == b"a"
    log.topics.delete([log.name])
    with pytest.raises((KafkaFailure, Gap)):
        next(iter(reader))


@pytest.mark.parametrize("change", [{"topic": ""}, {"wait": 0}, {"wait": 61}])
def test_arguments(broker: Broker, change: dict[str, Any], tmp_path: Path):
    settings = kafka_settings(broker.bootstrap, environment={})
    with pytest.raises(ValueError, match=next(iter(change))):
        OutsideReader(**{"settings": settings, "topic": "t", "marks": FileMarks(tmp_path / "m"), **change})


def test_it_does_without_beam():
    code = "import sys, transforms.outside_reader; sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
