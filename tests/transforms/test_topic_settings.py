"""Settings of topics: what cannot be is refused, what differs is said."""

from dataclasses import replace
from typing import Any

import pytest

from transforms.topic_settings import DAY_MS, KEEP, Difference, TopicSettings, differences

LOG = TopicSettings("log", 4, 7 * DAY_MS)


def found(wanted: TopicSettings = LOG, partitions: int = 4, replicas: int = 3, **config: str) -> list[str]:
    there = {**LOG.config(), **{name.replace("_", "."): value for name, value in config.items()}}
    return [str(difference) for difference in differences(wanted, partitions, replicas, there)]


def test_config_of_a_log_and_of_upserts():
    assert LOG.config() == {
        "cleanup.policy": "delete",
        "max.message.bytes": "1048588",
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": "2",
        "retention.bytes": "-1",
        "retention.ms": "604800000",
        "unclean.leader.election.enable": "false",
    }
    upserts = TopicSettings("u", compact=True, append_time=False).config()
    assert (upserts["cleanup.policy"], upserts["message.timestamp.type"], upserts["retention.ms"]) == (
        "compact",
        "CreateTime",
        "-1",
    )


def test_no_difference():
    assert found() == []
    assert found(replicas=5, max_message_bytes="2000000") == []


def test_each_difference_is_one_line():
    assert found(partitions=8) == ["log: number of partitions is 8, should be 4"]
    assert found(replicas=1) == ["log: number of replicas is 1, should be 3"]
    assert found(message_timestamp_type="CreateTime") == [
        "log: message.timestamp.type is CreateTime, should be LogAppendTime"
    ]
    assert found(retention_ms="1000", cleanup_policy="compact") == [
        "log: cleanup.policy is compact, should be delete",
        "log: retention.ms is 1000, should be 604800000",
    ]
    assert found(max_message_bytes="1000") == ["log: max.message.bytes is 1000, should be 1048588"]
    assert found(max_message_bytes="?") == ["log: max.message.bytes is ?, should be 1048588"]
    assert found(retention_bytes="5") == ["log: retention.bytes is 5, should be -1"]


def test_a_missing_topic_is_one_line():
    assert str(Difference("log", "topic", "missing", "")) == "log: missing"


def test_what_the_cluster_does_not_say_is_a_difference():
    lines = [str(each) for each in differences(LOG, 4, 3, {})]
    assert len(lines) == 7 and lines[0] == "log: cleanup.policy is unknown, should be delete"


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"partitions": 0},
        {"partitions": 1.5},
        {"retention_ms": 0},
        {"retention_ms": "7"},
        {"message_bytes": 10},
        {"replicas": 0},
        {"in_sync": 4},
        {"in_sync": True},
        {"compact": True},
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any]):
    with pytest.raises(ValueError, match="topic"):
        replace(LOG, **change)
    assert KEEP == -1
