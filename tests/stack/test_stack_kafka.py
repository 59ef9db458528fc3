"""The broker: topics as the project wants them, deletion, SCRAM over TLS."""

import time
import uuid

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stack.kafka import Broker
from stack.services import wait_until

QUIET = {"log_level": 0, "error_cb": lambda error: None}


def made(bootstrap: dict, **config: str) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    client = AdminClient({**QUIET, **bootstrap})
    client.create_topics([NewTopic(name, 2, 1, config=config)])[name].result(10)
    return name


def written(bootstrap: dict, topic: str, *values: bytes) -> None:
    producer = Producer({**QUIET, **bootstrap, "acks": "all", "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value, partition=1, timestamp=1000)
    assert producer.flush(30) == 0


def read(bootstrap: dict, topic: str, count: int) -> list:
    consumer = Consumer({**QUIET, **bootstrap, "group.id": "g", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 1, 0)])
        return consumer.consume(count, 30.0)
    finally:
        consumer.close()


def test_append_time_is_the_brokers(broker: Broker) -> None:
    plain = {"bootstrap.servers": broker.bootstrap}
    topic = made(plain, **{"message.timestamp.type": "LogAppendTime"})
    before = time.time() * 1000
    written(plain, topic, b"a", b"b")
    records = read(plain, topic, 2)
    assert [record.value() for record in records] == [b"a", b"b"]
    assert all(before - 1 <= record.timestamp()[1] <= time.time() * 1000 for record in records)


def test_a_topic_that_was_deleted_is_gone(broker: Broker) -> None:
    plain = {"bootstrap.servers": broker.bootstrap}
    topic = made(plain)
    client = AdminClient({**QUIET, **plain})
    client.delete_topics([topic])[topic].result(10)
    assert wait_until(lambda: topic not in client.list_topics(timeout=5).topics, 10)


def test_no_topic_comes_by_itself(broker: Broker) -> None:
    client = AdminClient({**QUIET, "bootstrap.servers": broker.bootstrap})
    name = f"t-{uuid.uuid4().hex[:8]}"
    assert client.list_topics(name, timeout=5).topics[name].error is not None
    assert name not in client.list_topics(timeout=5).topics


def test_retention_removes_old_records_within_seconds(broker: Broker) -> None:
    plain = {"bootstrap.servers": broker.bootstrap}
    topic = made(plain, **{"retention.ms": "1000", "segment.ms": "500", "message.timestamp.type": "LogAppendTime"})
    consumer = Consumer({**QUIET, **plain, "group.id": "g"})
    try:
        written(plain, topic, b"a")
        time.sleep(0.6)
        written(plain, topic, b"b")  # a new segment; the old one may go
        partition = TopicPartition(topic, 1)
        assert wait_until(lambda: consumer.get_watermark_offsets(partition, timeout=5)[0] > 0, 15)
    finally:
        consumer.close()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_the_secure_listener_lets_its_users_in(secure_broker: Broker, mechanism: str) -> None:
    assert secure_broker.tls is not None
    secure = {
        "bootstrap.servers": secure_broker.secure_bootstrap,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": "rails",
        "sasl.password": "on rails",
        "ssl.ca.location": str(secure_broker.tls.ca),
    }
    topic = made(secure)
    written(secure, topic, b"a")
    assert [record.value() for record in read(secure, topic, 1)] == [b"a"]


@pytest.mark.parametrize(
    "wrong", [{"sasl.password": "off rails"}, {"sasl.username": "nobody"}, {"ssl.ca.location": ""}]
)
def test_the_secure_listener_lets_nobody_else_in(secure_broker: Broker, wrong: dict) -> None:
    assert secure_broker.tls is not None
    secure = {
        "bootstrap.servers": secure_broker.secure_bootstrap,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "rails",
        "sasl.password": "on rails",
        "ssl.ca.location": str(secure_broker.tls.ca),
    }
    with pytest.raises(KafkaException):
        AdminClient({**QUIET, **secure, **wrong}).list_topics(timeout=3)
