"""murmur2 and the partitioner, against the vectors of Kafka's Java client and of librdkafka, and against librdkafka itself."""

import pytest
from confluent_kafka import Producer

from transforms.murmur2 import murmur2, partition_of

# org.apache.kafka.common.utils.UtilsTest.testMurmur2: signed
JAVA = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (bytes([12, 42, 56, 24, 109, 111]), 274204207),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]

# librdkafka, src/rdmurmur2.c: unsigned
LIBRDKAFKA = [
    (b"kafka", 0xD067CF64),
    (b"giberish123456789", 0x8F552B0C),
    (b"1234", 0x9FC97B14),
    (b"234", 0xE7C009CA),
    (b"34", 0x873930DA),
    (b"4", 0x5A4B5CA1),
    (b"PreAmbleWillBeRemoved,ThePrePartThatIs", 0x78424F1C),
    (b"reAmbleWillBeRemoved,ThePrePartThatIs", 0x4A62B377),
    (b"eAmbleWillBeRemoved,ThePrePartThatIs", 0xE0E4E09E),
    (b"AmbleWillBeRemoved,ThePrePartThatIs", 0x62B8B43F),
    (b"", 0x106E08D9),
]


@pytest.mark.parametrize(("key", "expected"), [*((key, h & 0xFFFFFFFF) for key, h in JAVA), *LIBRDKAFKA])
def test_published_vectors(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected


def test_the_sign_is_dropped_before_the_modulo() -> None:
    assert partition_of(b"foobar", 10) == (-790332482 & 0x7FFFFFFF) % 10 == 6
    assert partition_of(b"21", 1000) == (-973932308 & 0x7FFFFFFF) % 1000
    assert partition_of(b"anything", 1) == 0


def test_librdkafka_puts_keys_into_the_same_partitions() -> None:
    """Against the broker that librdkafka brings for tests: no network, no cluster."""
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "partitioner": "murmur2", "log_level": 0})
    placed: dict[bytes, int] = {}

    def delivered(error: object, message: object) -> None:
        assert error is None
        placed[message.key()] = message.partition()  # type: ignore[attr-defined]

    keys = [f"ACC-{n:06d}".encode() for n in range(200)] + [bytes([n, 255 - n]) * (n % 7 + 1) for n in range(50)]
    for key in keys:
        producer.produce("topic", b"", key=key, on_delivery=delivered)
    assert producer.flush(20) == 0
    partitions = len(producer.list_topics("topic", 20).topics["topic"].partitions)
    assert partitions > 1
    assert placed == {key: partition_of(key, partitions) for key in keys}
