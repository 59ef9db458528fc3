"""Clients of Kafka: reached or said why not. The cluster here is librdkafka's own, in this process."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from transforms.kafka_client import ClientErrors, KafkaFailure, connect, failure, text_of
from transforms.kafka_settings import kafka_settings


@pytest.fixture(scope="module")
def mock_servers() -> Iterator[str]:
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0, "bootstrap.servers": "-"})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"


@pytest.mark.parametrize("kind", [Producer, Consumer])
def test_a_client_that_has_reached_the_cluster(mock_servers: str, kind: type):
    client, errors = connect(
        kind, kafka_settings(mock_servers, environment={}), {"group.id": "g"} if kind is Consumer else {}
    )
    assert client.list_topics(timeout=5).brokers
    errors.check()


def test_nobody_there():
    start = time.monotonic()
    with pytest.raises(KafkaFailure, match=r"^127.0.0.1:1: no answer within 0.3 s \(Connect to .*refused\)$"):
        connect(Consumer, kafka_settings("127.0.0.1:1", environment={}), {"group.id": "g"}, timeout=0.3)
    assert time.monotonic() - start < 5


def test_properties_that_librdkafka_refuses():
    settings = kafka_settings("127.0.0.1:1", environment={})
    with pytest.raises(KafkaFailure, match=r"^127.0.0.1:1: .*socket.timeout.ms"):
        connect(Producer, settings, {"socket.timeout.ms": "soon"})


def test_what_trying_again_does_not_cure_is_raised():
    errors = ClientErrors("b:1")
    errors(KafkaError(KafkaError._TRANSPORT, "b:1/bootstrap: Connection refused (after 3ms in state CONNECT)"))
    errors.check()
    assert str(errors.silence(2)) == "b:1: no answer within 2 s (Connection refused)"
    errors(KafkaError(KafkaError._AUTHENTICATION, "sasl_ssl://b:1/1: wrong\npassword (after 3ms in state AUTH_REQ)"))
    errors(KafkaError(KafkaError._ALL_BROKERS_DOWN, "0/1 brokers are down"))
    errors(KafkaError(KafkaError._SSL, "later"))
    with pytest.raises(KafkaFailure, match=r"^b:1: wrong\\npassword$"):
        errors.check()


def test_a_fatal_error_is_raised():
    errors = ClientErrors("b:1")
    errors(KafkaError(KafkaError._STATE, "gone", fatal=True))
    with pytest.raises(KafkaFailure, match=r"^b:1: gone$"):
        errors.check()


def test_silence_without_a_word():
    assert str(ClientErrors("b:1").silence(0.5)) == "b:1: no answer within 0.5 s"


def test_exceptions_in_one_line():
    assert str(failure("x", KafkaException(KafkaError(KafkaError._TIMED_OUT)))) == "x: Local: Timed out"
    assert str(failure("x", KafkaException("two\nlines"))) == "x: two\\nlines"
    assert str(failure("x", ValueError("no"))) == "x: no"
    assert text_of(KafkaError(KafkaError._FAIL, "ssl://h:1/3: said")) == "said"
