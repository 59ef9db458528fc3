"""The command that makes the topics."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import topics
from pipelines.common import UsageError
from pipelines.topics import ALL, PLATFORM, make_topics, wanted_topics
from transforms.kafka_client import KafkaFailure
from transforms.topic_settings import Difference


class FakeTopics:
    """A cluster that has some topics; a new one cannot be asked at first."""

    def __init__(self, settings: Any) -> None:
        self.there, self.differ, self.closed = settings.there, settings.differ, False
        self.refuse = settings.refuse
        settings.fakes.append(self)

    def create(self, wanted: list[Any]) -> list[str]:
        made = [topic.name for topic in wanted if topic.name not in self.there]
        self.there += made
        return made

    def watermarks(self, name: str) -> None:
        assert name in self.there
        if self.refuse:
            self.refuse -= 1
            raise KafkaFailure("not leader")

    def differences(self, wanted: list[Any]) -> list[Difference]:
        missing = [Difference(topic.name, "topic", "missing", "") for topic in wanted if topic.name not in self.there]
        return [*missing, *self.differ]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = SimpleNamespace(there=["payments.incoming"], differ=[], refuse=2, fakes=[])
    monkeypatch.setattr(topics, "KafkaTopics", FakeTopics)
    monkeypatch.setattr(topics, "broker_settings", lambda options: found)
    monkeypatch.setattr(topics.time, "sleep", lambda _: None)
    return found


def test_what_is_missing_is_made_and_can_be_asked_then(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert topics.run([]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "made: auction.items" and out[-1] == f"topics: all {len(PLATFORM)} are as they should be"
    assert len(out) == len(PLATFORM) > len(ALL) and cluster.fakes[0].closed and cluster.fakes[0].refuse == 0


def test_only_looking_makes_nothing(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert topics.run(["--check"]) == 1
    assert cluster.there == ["payments.incoming"]
    assert "differs: payments.inflight: missing" in capsys.readouterr().out


def test_a_difference_is_told(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.differ = [Difference("payments.status", "number of partitions", "4", "16")]
    assert topics.run([]) == 1
    assert "differs: payments.status: number of partitions is 4, should be 16" in capsys.readouterr().out


def test_a_topic_that_stays_without_a_leader(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.refuse = 10**9
    monkeypatch.setattr(topics, "TIMEOUT", -1.0)
    with pytest.raises(KafkaFailure, match="not leader"):
        make_topics(cluster)
    assert cluster.fakes[0].closed


def test_replicas_and_how_many_of_them_are_in_sync() -> None:
    assert {(topic.replicas, topic.in_sync) for topic in wanted_topics(1)} == {(1, 1)}
    assert {(topic.replicas, topic.in_sync) for topic in wanted_topics(3)} == {(3, 2)}
    assert [replace(topic, replicas=3, in_sync=2) for topic in wanted_topics(1)] == list(ALL)


@pytest.mark.parametrize("flag", ["--replication=0", "--partitions=4", "--nosuch"])
def test_flags_out_of_range(cluster: Any, flag: str) -> None:
    with pytest.raises(UsageError):
        topics.run([flag])
