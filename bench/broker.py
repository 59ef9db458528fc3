"""What stands on a broker's topics, for the live benchmarks; rates by the broker's own append times."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.rails import Record
from transforms.kafka_headers import read_headers


def ends(bootstrap: str, topic: str, partitions: int) -> list[int]:
    """The end of each partition: one request, so that looking often costs the broker little."""
    places = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}
    found = {place.partition: asked.result(10).offset for place, asked in _admin(bootstrap).list_offsets(places).items()}
    return [found[number] for number in range(partitions)]


@cache
def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": "0"})


def read(
    bootstrap: str, topic: str, partitions: int, starts: Sequence[int] | None = None
) -> Iterator[tuple[int, bytes, bytes]]:
    """(append time, key, value) of every record that is there now and committed, each partition in its order, from `starts` on."""
    for message in _messages(bootstrap, topic, starts or [0] * partitions):
        yield message.timestamp()[1], message.key(), message.value()


def read_records(bootstrap: str, topic: str, starts: Sequence[int]) -> Iterator[tuple[int, Record]]:
    """The same with origins, each record with its partition."""
    for message in _messages(bootstrap, topic, starts):
        origin, headers, _ = read_headers(message.headers())
        at = message.timestamp()[1]
        yield message.partition(), Record(message.offset(), at, message.key(), message.value(), origin, headers)


def _messages(bootstrap: str, topic: str, starts: Sequence[int]) -> Iterator[Any]:
    """Up to the ends now: where records keep coming there is no end of the partition to be told of. Where the last offsets are no records,
    as in transactions, that end is."""
    until = ends(bootstrap, topic, len(starts))
    left = {number for number, end in enumerate(until) if starts[number] < end}
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "bench", "enable.partition.eof": True, "log_level": "0"}
    )
    try:
        consumer.assign([TopicPartition(topic, number, starts[number]) for number in sorted(left)])
        while left:
            for message in consumer.consume(10_000, 0.2):
                error, number = message.error(), message.partition()
                if error is None:
                    if message.offset() < until[number]:
                        yield message
                    if message.offset() + 1 >= until[number]:
                        left.discard(number)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(number)
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


def rate(times: list[int]) -> tuple[float, float]:
    """(records/s, seconds) between the first and the last tenth of append times in ms."""
    times = sorted(times)
    low, high = times[len(times) // 10], times[len(times) * 9 // 10]
    return 0.8 * len(times) / max(1, high - low) * 1000, (high - low) / 1000
