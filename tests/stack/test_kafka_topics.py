"""Topics on a real broker, and how clients get in."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from payments import topics as payment_topics
from stack.kafka import Broker, running_broker
from transforms.kafka_client import KafkaFailure, connect
from transforms.kafka_settings import KafkaSettings, kafka_settings
from transforms.kafka_topics import KafkaTopics
from transforms.topic_settings import DAY_MS, TopicSettings

LOG = TopicSettings("topics-test", 3, 7 * DAY_MS, replicas=1, in_sync=1)


@pytest.fixture(scope="module")
def settings(broker: Broker) -> KafkaSettings:
    return kafka_settings(broker.bootstrap, environment={})


@pytest.fixture(scope="module")
def topics(settings: KafkaSettings) -> Iterator[KafkaTopics]:
    made = KafkaTopics(settings)
    yield made
    made.close()


def test_topics_are_made_once_and_are_as_they_should_be(topics: KafkaTopics):
    topics.delete([LOG.name])
    assert [str(each) for each in topics.differences([LOG])] == ["topics-test: missing"]
    assert topics.create([LOG]) == [LOG.name]
    assert topics.create([LOG]) == []
    assert topics.differences([LOG]) == []
    info = topics.info(LOG.name)
    assert (info.name, info.partitions, info.replicas) == (LOG.name, 3, 1)
    other = replace(LOG, partitions=4, retention_ms=1000, append_time=False)
    assert [str(each) for each in topics.differences([other])] == [
        "topics-test: number of partitions is 3, should be 4",
        "topics-test: message.timestamp.type is LogAppendTime, should be CreateTime",
        "topics-test: retention.ms is 604800000, should be 1000",
    ]


def test_a_topic_made_again_has_another_id(topics: KafkaTopics):
    topic = replace(LOG, name="topics-again")
    ids = []
    for _ in range(3):
        topics.delete([topic.name])
        while topics.find([topic.name]):
            pass
        topics.create([topic])
        ids.append(topics.info(topic.name).id)
    assert len(set(ids)) == 3
    assert all(len(each) == 22 and not set(each) & set("/+=") for each in ids)  # as Kafka's own tools write it


def test_all_payment_topics(topics: KafkaTopics):
    wanted = [replace(each, replicas=1, in_sync=1) for each in payment_topics.SETTINGS]
    topics.create(wanted)
    assert topics.differences(wanted) == []


def test_nothing_to_do(topics: KafkaTopics):
    assert topics.create([]) == [] and topics.differences([]) == [] and topics.find([]) == {}


def test_offsets_times_and_lag(topics: KafkaTopics, broker: Broker):
    topic = replace(LOG, name="topics-offsets")
    topics.delete([topic.name])
    topics.create([topic])
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    times: list[int] = []
    for i in range(5):
        producer.produce(topic.name, b"x", partition=1, on_delivery=lambda _, m: times.append(m.timestamp()[1]))
        producer.flush()
        while i == 2 and _now() <= times[-1]:
            pass
    assert topics.watermarks(topic.name) == [(0, 0), (0, 5), (0, 0)]
    assert topics.at_time(topic.name, times[3]) == [0, 3, 0]
    assert topics.at_time(topic.name, times[-1] + 60_000) == [0, 5, 0]
    assert topics.committed(topic.name, "readers") == [None, None, None]
    assert topics.lag(topic.name, "readers") == [0, 5, 0]
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "readers"})
    consumer.commit(offsets=[TopicPartition(topic.name, 1, 2)], asynchronous=False)
    consumer.close()
    assert topics.committed(topic.name, "readers") == [None, 2, None]
    assert topics.lag(topic.name, "readers") == [0, 3, 0]


def _now() -> int:
    return int(time.time() * 1000)


def test_no_such_topic(topics: KafkaTopics, settings: KafkaSettings):
    for ask in (topics.info, topics.watermarks, lambda name: topics.lag(name, "g")):
        with pytest.raises(KafkaFailure, match=rf"^{settings.servers}: no topic nowhere$"):
            ask("nowhere")


def test_what_the_broker_refuses_is_one_line(topics: KafkaTopics):
    with pytest.raises(KafkaFailure, match=r"topics-many: .*[Rr]eplication") as caught:
        topics.create([replace(LOG, name="topics-many", replicas=3)])
    assert "\n" not in str(caught.value)


# --- security ---


def secure(broker: Broker, mechanism: str, user: str = "rails", **changes: str) -> KafkaSettings:
    assert broker.secure_bootstrap is not None and broker.tls is not None
    properties = {
        "bootstrap.servers": broker.secure_bootstrap,
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": "env:RAILS_TEST_PASSWORD",
        "ssl.ca.location": str(broker.tls.ca),
        **{name.replace("_", "."): value for name, value in changes.items()},
    }
    return KafkaSettings(tuple(properties.items()))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_users_with_a_password_get_in(secure_broker: Broker, mechanism: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAILS_TEST_PASSWORD", "on rails")
    topics = KafkaTopics(secure(secure_broker, mechanism))
    topics.create([replace(LOG, name="secure")])
    assert topics.info("secure").partitions == 3
    producer, errors = connect(Producer, secure(secure_broker, mechanism), {})
    producer.produce("secure", b"x", partition=0)
    assert producer.flush(10) == 0
    errors.check()
    assert topics.watermarks("secure")[0][1] >= 1


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_a_wrong_password_is_one_line(secure_broker: Broker, mechanism: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAILS_TEST_PASSWORD", "canary-5511")
    with pytest.raises(KafkaFailure) as caught:
        KafkaTopics(secure(secure_broker, mechanism))
    text = str(caught.value)
    assert text.startswith(f"{secure_broker.secure_bootstrap}: SASL authentication error") and "\n" not in text
    assert "canary" not in text


def test_a_broker_that_nobody_vouches_for_is_refused(secure_broker: Broker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAILS_TEST_PASSWORD", "on rails")
    others = {name: value for name, value in secure(secure_broker, "PLAIN").properties if name != "ssl.ca.location"}
    with pytest.raises(KafkaFailure, match="certificate could not be verified"):
        KafkaTopics(KafkaSettings(tuple(others.items())))


@pytest.fixture(scope="module")
def certified_broker(stack_folder: Path) -> Iterator[Broker]:
    """Wants a certificate of the client, too."""
    base = int(os.environ.get("BEAM_ON_RAILS_TEST_PORTS", "20600")) + 20
    with running_broker(
        stack_folder / "certified", base, users={"rails": "on rails"}, client_certificate=True
    ) as found:
        yield found


def test_a_client_with_a_certificate_gets_in_and_none_without(
    certified_broker: Broker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAILS_TEST_PASSWORD", "on rails")
    files = certified_broker.tls
    assert files is not None
    own = {"ssl_certificate_location": str(files.client_certificate), "ssl_key_location": str(files.client_key)}
    topics = KafkaTopics(secure(certified_broker, "SCRAM-SHA-512", **own))
    assert topics.create([replace(LOG, name="certified")]) == ["certified"]
    by_reference = secure(
        certified_broker,
        "PLAIN",
        ssl_certificate_pem=f"file:{files.client_certificate}",
        ssl_key_pem=f"file:{files.client_key}",
    )
    assert KafkaTopics(by_reference).info("certified").partitions == 3
    with pytest.raises(KafkaFailure, match=r"certificate"):
        KafkaTopics(secure(certified_broker, "SCRAM-SHA-512"), timeout=3)
