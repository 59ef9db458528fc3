"""The idiomatic Beam that ours is compared with: its source, its sink and its steps, over librdkafka's own mock cluster."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from bench.card import EVENTS, CardBalance, Deposit
from bench.peers import beam_cards
from bench.peers.sides import CONSUMER, PRODUCER


@pytest.fixture
def servers() -> Iterator[dict[str, Any]]:
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0, "bootstrap.servers": "-"})
    brokers = cluster.list_topics(timeout=10).brokers.values()
    yield {"bootstrap.servers": ",".join(f"{broker.host}:{broker.port}" for broker in brokers)}


def turn(fn: beam_cards.ReadPartition, where: OffsetRange) -> tuple[list[bytes], OffsetRange]:
    """One call: the values that it gave, and what is left."""
    tracker = ThreadsafeRestrictionTracker(beam_cards.FromTheStart().create_tracker(where))
    values = list(fn.process(0, RestrictionTrackerView(tracker)))
    rest = tracker.deferred_status()
    assert rest is not None and tracker.check_done() in (True, None)
    return values, rest[0]


def test_a_partition_is_read_on_from_where_the_last_call_ended(servers: dict[str, Any]) -> None:
    producer = Producer(servers)

    def write(*values: bytes) -> None:
        for value in values:
            producer.produce("deposits", value, partition=0)
        producer.flush(10)

    write(b"0", b"1", b"2")
    fn = beam_cards.ReadPartition("deposits", servers | CONSUMER)
    fn.setup()
    where, read = beam_cards.FromTheStart().initial_restriction(0), []
    while len(read) < 3:
        values, where = turn(fn, where)
        read += values
    assert (read, where.start) == ([b"0", b"1", b"2"], 3)
    write(b"3")
    while len(read) < 4:
        values, where = turn(fn, where)
        read += values
    again: list[bytes] = []
    while len(again) < 3:  # after a restore: another position than the consumer's
        again += turn(fn, OffsetRange(1 + len(again), beam_cards.END))[0]
    assert (read[3:], again) == ([b"3"], [b"1", b"2", b"3"])
    fn.teardown()


def test_a_bundle_ends_when_all_is_written(servers: dict[str, Any]) -> None:
    fn = beam_cards.WriteRecords("balances", servers | PRODUCER)
    fn.setup()
    fn.process((b"card", b"value"))
    fn.finish_bundle()
    consumer = Consumer(servers | {"group.id": "test"})
    ends = [consumer.get_watermark_offsets(TopicPartition("balances", n), 10)[1] for n in range(4)]
    consumer.close()
    assert sum(ends) == 1


def test_what_was_not_written_fails_the_bundle(servers: dict[str, Any]) -> None:
    fn = beam_cards.WriteRecords("balances", servers | PRODUCER)
    fn.setup()
    fn._delivered(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), None)
    with pytest.raises(RuntimeError, match="not all was written to balances"):
        fn.finish_bundle()


def test_the_steps_between_know_the_frame() -> None:
    decode, encode = beam_cards.DecodeDeposit(), beam_cards.EncodeBalance()
    decode.setup()
    encode.setup()
    assert list(decode.process(EVENTS.encode(Deposit("a", 7)))) == [("a", 7)]
    assert list(encode.process(("a", 9))) == [(b"a", EVENTS.encode(CardBalance("a", 9)))]


def test_the_job_is_built() -> None:
    pipeline = beam.Pipeline()
    settings = {"bootstrap": "x", "source": "a", "target": "b", "partitions": 16, "consumer": {}, "producer": {}}
    beam_cards.build(pipeline, settings)
    assert "ParDo(AddUp)" in pipeline.applied_labels
