"""The source without a broker: its arguments, its graph, its pool of consumers. With one: tests/stack/test_log_chunks.py."""

from collections import Counter
from typing import Any

import pytest
from apache_beam import Pipeline
from apache_beam.utils.timestamp import MIN_TIMESTAMP

from tests.proto import assert_no_pickled_coders
from transforms import log_consumer
from transforms.flink_keys import key_groups, subtask
from transforms.kafka_settings import kafka_settings
from transforms.log_chunks import (
    AtOffsets,
    AtTime,
    Committed,
    Earliest,
    Latest,
    ReadLog,
    ReadPace,
    _timestamp,
    split_partitions,
)
from transforms.log_consumer import ConsumerPool
from transforms.log_ranges import LogRanges, LogRangesCoder, Range
from transforms.manual_watermarks import ManualWatermarks, TimestampCoder

SETTINGS = kafka_settings("127.0.0.1:1", environment={})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {}}, "settings must be KafkaSettings, got dict"),
        ({"topic": ""}, "topic must be a name"),
        ({"partitions": 0}, "partitions must be a whole number from 1, got 0"),
        ({"groups": 0}, "groups must be"),
        ({"idle_ms": 0}, "idle_ms must be"),
        ({"start": "earliest"}, "start must be Earliest.*'earliest'"),
        ({"end": Earliest()}, "end must be Latest"),
        ({"start": AtOffsets({0: 5})}, "must have an offset for each partition, 0 to 1"),
        ({"end": AtOffsets({0: 5, 2: 5})}, "must have an offset for each partition"),
    ],
)
def test_arguments(change: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        ReadLog(**{"settings": SETTINGS, "topic": "t", "partitions": 2, **change})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Committed(""),
        lambda: AtTime(-1),
        lambda: AtTime(1.5),  # type: ignore[arg-type]
        lambda: AtOffsets({0: -1}),  # type: ignore[arg-type]
        lambda: AtOffsets(((0, 1), (0, 2))),
        lambda: AtOffsets((("0", 1),)),  # type: ignore[arg-type]
        lambda: ReadPace(turn_ms=0),
        lambda: ReadPace(wait_ms=True),
        lambda: ReadPace(chunk_records=1_000_000),
    ],
)
def test_places_and_paces_that_cannot_be(make: Any):
    with pytest.raises(ValueError, match=r"^(Committed|AtTime|AtOffsets|ReadPace): "):
        make()


def test_offsets_in_any_form_are_the_same():
    assert AtOffsets({1: 5, 0: 3}) == AtOffsets(((0, 3), (1, 5)))  # type: ignore[arg-type]


def test_partitions_are_split_evenly():
    assert split_partitions(5, 2) == [(0, 2, 4), (1, 3)]
    assert split_partitions(2, 9) == [(0,), (1,)]


def test_groups_land_evenly_on_flinks_workers():
    groups = ReadLog(SETTINGS, "t", 16, groups=4)._read.groups
    assert sorted(n for group in groups.values() for n in group) == list(range(16))
    for workers in (1, 2, 4):
        for hashed in (0, 1):  # by the newer runners and by the older
            subtasks = Counter(subtask(key_groups(key)[hashed], workers) for key in groups)
            assert set(subtasks.values()) == {4 // workers} and len(subtasks) == workers


@pytest.mark.parametrize(("end", "bounded"), [(None, False), (Latest(), True)])
def test_graph(end: Any, bounded: bool):
    pipeline = Pipeline()
    read = ReadLog(SETTINGS, "t", 4, end=end)
    assert (pipeline | read).is_bounded is bounded
    assert_no_pickled_coders(pipeline)
    assert isinstance(read._read.restriction_coder(), LogRangesCoder)
    assert isinstance(ManualWatermarks().estimator_state_coder(), TimestampCoder)
    assert read._read.restriction_size(b"0", LogRanges("id", (Range(0, 2, 5),))) == 3.0


def test_times_of_clients_stay_within_beams_range():
    assert _timestamp(-(1 << 62)) > MIN_TIMESTAMP
    assert _timestamp(1 << 62) == _timestamp(1 << 61)
    assert _timestamp(5).micros == 5000


# --- the pool ---


class Parked:
    def __init__(self, at: int = 0) -> None:
        self.at, self.closed = at, False

    def stands_at(self, where: LogRanges) -> bool:
        return where.ranges[0].offset == self.at

    def close(self) -> None:
        self.closed = True


def at(offset: int) -> LogRanges:
    return LogRanges("id", (Range(0, offset),))


def test_a_consumer_is_used_again():
    pool: Any = ConsumerPool()
    one = pool.take("k", Parked, at(0))
    assert pool.take("k", Parked, at(0)) is not one  # nobody else has it meanwhile
    pool.give("k", one)
    assert pool.take("other", Parked, at(0)) is not one
    assert pool.take("k", Parked, at(0)) is one


def test_the_one_that_stands_there_is_taken():
    pool: Any = ConsumerPool()
    near, far = Parked(5), Parked(9)
    pool.give("k", near)
    pool.give("k", far)
    assert pool.take("k", Parked, at(5)) is near
    assert pool.take("k", Parked, at(5)) is far  # it can go there
    pool.give("k", far)
    assert pool.take("k", Parked) is far


def test_no_more_wait_than_may():
    pool: Any = ConsumerPool()
    parked = [Parked(i) for i in range(4)]
    for each in parked:
        pool.give("k", each)
    assert [each.closed for each in parked] == [True, True, False, False]
    pool.clear()
    assert all(each.closed for each in parked)


def test_what_nobody_wants_is_closed(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(log_consumer.time, "monotonic", lambda: now[0])
    pool: Any = ConsumerPool(idle_seconds=60)
    old, young = Parked(), Parked()
    pool.give("old", old)
    now[0] = 150
    pool.give("young", young)
    now[0] = 170
    pool.take("other", Parked)
    assert (old.closed, young.closed) == (True, False)
    assert pool.take("young", Parked) is young
