"""What stands on a broker's topics, for the live benchmarks; rates by the broker's own append times."""

from collections.abc import Iterator, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition


def ends(bootstrap: str, topic: str, partitions: int) -> list[int]:
    """The end of each partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "log_level": "0"})
    found = [consumer.get_watermark_offsets(TopicPartition(topic, n), 10)[1] for n in range(partitions)]
    consumer.close()
    return found


def read(
    bootstrap: str, topic: str, partitions: int, starts: Sequence[int] | None = None
) -> Iterator[tuple[int, bytes, bytes]]:
    """(append time, key, value) of every record that is there now and committed, each partition in its order, from `starts` on."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "bench", "enable.partition.eof": True, "log_level": "0"}
    )
    try:
        first = starts or [0] * partitions
        consumer.assign([TopicPartition(topic, number, offset) for number, offset in enumerate(first)])
        left = set(range(partitions))
        while left:
            for message in consumer.consume(10_000, 1.0):
                error = message.error()
                if error is None:
                    yield message.timestamp()[1], message.key(), message.value()
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


def rate(times: list[int]) -> tuple[float, float]:
    """(records/s, seconds) between the first and the last tenth of append times in ms."""
    times = sorted(times)
    low, high = times[len(times) // 10], times[len(times) * 9 // 10]
    return 0.8 * len(times) / max(1, high - low) * 1000, (high - low) / 1000
