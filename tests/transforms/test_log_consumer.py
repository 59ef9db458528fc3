"""What a consumer of a log makes of what comes; the client and the cluster are played here. Real ones: tests/stack/test_log_chunks.py."""

from collections import deque
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from transforms import log_consumer
from transforms.kafka_client import ClientErrors, KafkaFailure
from transforms.kafka_settings import kafka_settings
from transforms.kafka_topics import TopicInfo
from transforms.log_consumer import LogConsumer, LogGap, LogName
from transforms.log_ranges import LogRanges, Range

SETTINGS = kafka_settings("b:1", environment=dict.fromkeys(["BEAM_ON_RAILS_KAFKA_FETCH_WAIT_MAX_MS"], "7"))


class Cluster:
    """Topics and consumer in one: what comes is put into `comes`."""

    def __init__(self) -> None:
        self.comes: deque[Any] = deque()
        self.assigned: list[tuple[int, int]] = []
        self.left: list[int] = []
        self.bounds: Any = (0, 100)
        self.found = TopicInfo("log", "id", 2, 1)
        self.properties: dict[str, Any] = {}
        self.refuses = False

    def info(self, name: str) -> TopicInfo:
        return self.found

    def assign(self, parts: list[TopicPartition]) -> None:
        self.assigned = [(part.partition, part.offset) for part in parts]

    def incremental_unassign(self, parts: list[TopicPartition]) -> None:
        self.left += [part.partition for part in parts]

    def get_watermark_offsets(self, part: TopicPartition, timeout: float) -> tuple[int, int]:
        if isinstance(self.bounds, Exception):
            raise self.bounds
        return self.bounds

    def poll(self, wait: float) -> Any:
        return self.comes.popleft() if self.comes else None

    def consume(self, count: int, wait: float) -> list[Any]:
        found = list(self.comes)[:count]
        for _ in found:
            self.comes.popleft()
        return found

    def commit(self, **_: Any) -> None:
        if self.refuses:
            raise KafkaException(KafkaError(KafkaError._NO_OFFSET))

    def close(self) -> None:
        pass


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()

    def connect(kind: Any, settings: Any, properties: dict[str, Any]) -> tuple[Any, ClientErrors]:
        made.properties = properties
        return made, ClientErrors("b:1")

    monkeypatch.setattr(log_consumer, "connect", connect)
    monkeypatch.setattr(log_consumer, "KafkaTopics", lambda settings: made)
    return made


def consumer(cluster: Cluster, *ranges: Range, compacted: bool = False) -> LogConsumer:
    made = LogConsumer(SETTINGS, LogName("log", 2, compacted))
    made.go_to(LogRanges("id", ranges or (Range(0, 0), Range(1, 0))))
    return made


def record(partition: int, offset: int) -> Message:
    return Message("log", partition, offset, value=b"v", timestamp=(2, 1000 + offset))


def told(code: int, partition: int = 0, offset: int = 0, **flags: bool) -> Message:
    return Message("log", partition, offset, error=KafkaError(code, "said", **flags))


def offsets(made: LogConsumer) -> list[tuple[int, list[int]]]:
    return [(run.partition, [message.offset() for message in run.messages]) for run in made.take(0, 100)]


def test_settings_of_the_user_stay_and_the_contract_stands(cluster: Cluster):
    consumer(cluster)
    assert "fetch.wait.max.ms" not in cluster.properties  # the settings have it
    assert cluster.properties["queued.min.messages"] == 20_000
    assert cluster.properties["auto.offset.reset"] == "error"


def test_runs_of_each_partition(cluster: Cluster):
    made = consumer(cluster)
    assert offsets(made) == []
    cluster.comes += [record(0, 0), record(1, 0), record(0, 1)]
    assert offsets(made) == [(0, [0, 1]), (1, [0])]
    assert made.positions == {0: 2, 1: 1}
    cluster.comes += [record(0, 2), told(KafkaError._PARTITION_EOF, 0, 3), record(0, 3)]
    assert offsets(made) == [(0, [2]), (0, [3])]
    assert made.idle_ms(0) == 0


def test_the_end_of_a_partition_makes_it_idle(cluster: Cluster):
    made = consumer(cluster)
    cluster.comes += [record(0, 0), told(KafkaError._PARTITION_EOF, 0, 1)]
    assert offsets(made) == [(0, [0])]
    assert made.idle_ms(0) > 0 == made.idle_ms(1)
    cluster.comes.append(record(0, 1))
    made.take(0, 100)
    assert made.idle_ms(0) == 0


def test_what_was_left_does_not_come(cluster: Cluster):
    made = consumer(cluster)
    made.leave(1)
    made.leave(1)
    assert cluster.left == [1]
    cluster.comes += [record(1, 0), told(KafkaError._PARTITION_EOF, 1, 1), record(0, 0)]
    assert offsets(made) == [(0, [0])]


def test_nothing_is_assigned_that_is_done(cluster: Cluster):
    consumer(cluster, Range(0, 5, 5), Range(1, 7))
    assert cluster.assigned == [(1, 6)]  # with the record before


def test_the_record_before_comes_alone(cluster: Cluster):
    made = consumer(cluster, Range(0, 7))
    cluster.comes.append(record(0, 6))
    assert offsets(made) == [] and made.clocks == {0: 1006}
    cluster.comes.append(record(0, 7))
    assert offsets(made) == [(0, [7])]


@pytest.mark.parametrize("wrong", [[record(0, 1)], [record(0, 0), record(0, 2)], [record(0, 0), record(0, 0)]])
def test_offsets_that_do_not_follow(cluster: Cluster, wrong: list[Message]):
    made = consumer(cluster)
    cluster.comes += wrong
    with pytest.raises(LogGap, match=r"^log/0: expected offset \d, but \d (came|came again)$"):
        made.take(0, 100)


def test_holes_of_a_compacted_log(cluster: Cluster):
    made = consumer(cluster, compacted=True)
    cluster.comes += [record(0, 3), record(0, 9), told(KafkaError._PARTITION_EOF, 0, 12)]
    assert offsets(made) == [(0, [3, 9])]
    assert made.positions[0] == 12
    cluster.comes.append(record(0, 5))
    with pytest.raises(LogGap, match="but 5 came again"):
        made.take(0, 100)


def test_an_end_beyond_what_came(cluster: Cluster):
    made = consumer(cluster)
    cluster.comes.append(told(KafkaError._PARTITION_EOF, 0, 2))
    with pytest.raises(LogGap, match=r"^log/0: expected offset 0, but the log ends at 2$"):
        made.take(0, 100)


@pytest.mark.parametrize(
    ("code", "bounds", "expected"),
    [
        (
            KafkaError._AUTO_OFFSET_RESET,
            (5, 9),
            "retention has overtaken the reader, which is at 0: the log begins at 5",
        ),
        (KafkaError.OFFSET_OUT_OF_RANGE, (0, 9), "log/0: said"),
        (KafkaError._UNKNOWN_PARTITION, (0, 9), "there is no such topic or partition any more"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, (0, 9), "log/0: said"),
        (KafkaError._AUTO_OFFSET_RESET, KafkaException(KafkaError(KafkaError._TIMED_OUT)), "log/0: Local: Timed out"),
    ],
)
def test_what_ends_the_reading(cluster: Cluster, code: int, bounds: Any, expected: str):
    made = consumer(cluster)
    cluster.bounds = bounds
    cluster.comes.append(told(code))
    with pytest.raises((LogGap, KafkaFailure), match=expected):
        made.take(0, 100)


def test_what_passes_by_itself(cluster: Cluster):
    made = consumer(cluster)
    cluster.comes += [told(KafkaError._TRANSPORT, retriable=True), record(0, 0)]
    assert offsets(made) == [(0, [0])]


def test_another_topic(cluster: Cluster):
    cluster.found = TopicInfo("log", "other", 2, 1)
    with pytest.raises(LogGap, match=r"^log: the topic was re-created: its id is other, it was id$"):
        consumer(cluster)
    cluster.found = TopicInfo("log", "id", 3, 1)
    with pytest.raises(LogGap, match=r"^log: has 3 partitions, should have 2$"):
        consumer(cluster)


def test_a_commit_that_fails_is_not_the_readers_fault(cluster: Cluster):
    made = consumer(cluster)
    made.commit({0: 5})
    cluster.refuses = True
    made.commit({0: 5})
    made.close()
