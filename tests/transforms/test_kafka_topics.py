"""Topics where the cluster is slow to know them; it is played here. A real one: tests/stack/test_kafka_topics.py."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from transforms import kafka_topics
from transforms.kafka_client import ClientErrors, KafkaFailure, topic_id
from transforms.kafka_settings import kafka_settings
from transforms.kafka_topics import KafkaTopics
from transforms.topic_settings import TopicSettings

SETTINGS = kafka_settings("b:1", environment={})


def future(value: Any) -> Future[Any]:
    made: Future[Any] = Future()
    if isinstance(value, int):
        made.set_exception(KafkaException(KafkaError(value)))
    else:
        made.set_result(value)
    return made


class Admin:
    """Answers what it is told to, in turn; the last answer again and again."""

    def __init__(self) -> None:
        self.leaders, self.groups, self.created = [-1, 0], [KafkaError.COORDINATOR_LOAD_IN_PROGRESS], None
        self.there = False

    def describe_topics(self, names: Any, **_: Any) -> dict[str, Future[Any]]:
        part = SimpleNamespace(replicas=[1])
        about = SimpleNamespace(topic_id="a+b/c==", partitions=[part])
        return {"log": future(about if self.there else KafkaError.UNKNOWN_TOPIC_OR_PART)}

    def create_topics(self, new: Any, **_: Any) -> dict[str, Future[Any]]:
        return {"log": future(self.created)}

    def list_topics(self, timeout: float) -> Any:
        leader = self.leaders.pop(0) if len(self.leaders) > 1 else self.leaders[0]
        return SimpleNamespace(topics={"log": SimpleNamespace(partitions={0: SimpleNamespace(leader=leader)})})

    def list_consumer_group_offsets(self, request: Any, **_: Any) -> dict[str, Future[Any]]:
        answer = self.groups.pop(0) if len(self.groups) > 1 else self.groups[0]
        return {"g": future(answer)}

    def poll(self, timeout: float) -> None:
        pass


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    made = Admin()
    monkeypatch.setattr(kafka_topics, "connect", lambda *_: (made, ClientErrors("b:1")))
    return made


def test_a_new_topic_is_there_when_its_partitions_are(admin: Admin):
    assert KafkaTopics(SETTINGS).create([TopicSettings("log", 1)]) == ["log"]
    assert admin.leaders == [0]


def test_a_topic_without_leader_is_one_line(admin: Admin):
    admin.leaders = [-1]
    with pytest.raises(KafkaFailure, match=r"^b:1: no leader for log within 0.05 s$"):
        KafkaTopics(SETTINGS, timeout=0.05).create([TopicSettings("log", 1)])


def test_another_launch_was_faster(admin: Admin):
    admin.created = KafkaError.TOPIC_ALREADY_EXISTS
    assert KafkaTopics(SETTINGS).create([TopicSettings("log", 1)]) == []


def test_a_group_whose_coordinator_starts(admin: Admin):
    admin.there = True
    answer = SimpleNamespace(topic_partitions=[SimpleNamespace(partition=0, offset=5)])
    admin.groups = [KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR, answer]  # type: ignore[list-item]
    topics = KafkaTopics(SETTINGS)
    assert topics.committed("log", "g") == [5]
    topics.close()


def test_a_group_whose_coordinator_never_starts(admin: Admin):
    admin.there = True
    with pytest.raises(KafkaFailure, match=r"^b:1: g: Broker: Coordinator load in progress$"):
        KafkaTopics(SETTINGS, timeout=0.05).committed("log", "g")


def test_offsets_for_times_that_fail(admin: Admin, monkeypatch: pytest.MonkeyPatch):
    admin.there = True
    topics = KafkaTopics(SETTINGS)
    failed = SimpleNamespace(partition=0, offset=-1, error=KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    answers: dict[str, Any] = {"get_watermark_offsets": (0, 5), "offsets_for_times": [failed]}
    monkeypatch.setattr(topics, "_consume", lambda call, argument: answers[call])
    with pytest.raises(KafkaFailure, match=r"^b:1: log/0: Broker: Leader not available$"):
        topics.at_time("log", 7)


def test_ids_as_kafkas_own_tools_write_them():
    assert topic_id("a+b/c==") == "a-b_c"
