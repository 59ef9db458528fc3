"""What clients of Kafka have in common: how readers are set up, what errors mean, and those they tell in the background, in one line."""

import re
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from transforms.errors import InputError, one_line
from transforms.kafka_settings import KafkaSettings

READING: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
}
"""Of every reader of a log (contract line 8): it stands where it is told to, and nowhere else."""

LOST = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
"""The offset that comes next is not there."""

GONE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
"""There is no such topic or partition, any more or ever."""

# What trying again does not cure; librdkafka itself tries for ever.
_HOPELESS = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._FATAL})
_STATE = re.compile(r" \(after \d+ms in state \w+\)")
_PLACE = re.compile(r"^\w+://[^ ]*: |^[^ ]+/(?:bootstrap|\d+): ")


class KafkaFailure(InputError):
    """A cluster that refuses us, does not answer, or has no such topic; one line with its servers."""


class ClientErrors:
    """The `error_cb` of one client: keeps what the client tells in the background until somebody asks."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._last: str | None = None
        self._hopeless: str | None = None

    def __call__(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # says nothing of why
            return
        self._last = text_of(error)
        if error.fatal() or error.code() in _HOPELESS:
            self._hopeless = self._hopeless or self._last

    def check(self) -> None:
        """KafkaFailure if something was told that trying again does not cure."""
        if self._hopeless is not None:
            raise KafkaFailure(f"{self.servers}: {self._hopeless}")

    def silence(self, seconds: float) -> KafkaFailure:
        """What to raise when nothing came within this time."""
        why = f" ({self._last})" if self._last else ""
        return KafkaFailure(f"{self.servers}: no answer within {seconds:g} s{why}")


def topic_id(uuid: Any) -> str:
    """A topic's id as Kafka's own tools write it, fit for names of files; librdkafka writes Base64 with + and /."""
    return str(uuid).translate(str.maketrans("+/", "-_")).rstrip("=")


def text_of(error: KafkaError) -> str:
    """The text of an error on one line, without the client's state."""
    return one_line(_PLACE.sub("", _STATE.sub("", error.str())))


def failure(where: str, error: Exception) -> KafkaFailure:
    """A KafkaException of confluent-kafka as ours."""
    cause = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return KafkaFailure(f"{where}: {text_of(cause) if isinstance(cause, KafkaError) else one_line(str(cause))}")


def connect(
    kind: Any, settings: KafkaSettings, properties: dict[str, Any], timeout: float = 10
) -> tuple[Any, ClientErrors]:
    """A client (`kind`: Consumer, Producer or AdminClient) that has reached the cluster, and its errors.

    Wrong passwords and certificates are said at once, silence after `timeout` seconds: KafkaFailure. Secrets are resolved here.
    """
    errors = ClientErrors(settings.servers)
    # What the library would print itself is what `errors` keeps.
    ours = {
        "error_cb": errors,
        "log_level": "2",
        "allow.auto.create.topics": False,
        **settings.resolved(),
        **properties,
    }
    if getattr(kind, "__name__", "") != "Consumer":
        ours.pop("allow.auto.create.topics")
    try:
        client = kind(ours)
    except KafkaException as error:
        raise failure(settings.servers, error) from None
    end = time.monotonic() + timeout
    try:
        while True:
            try:
                client.list_topics(timeout=min(0.5, timeout))
                return client, errors
            except KafkaException as error:
                client.poll(0)
                errors.check()
                if time.monotonic() > end:
                    raise errors.silence(timeout) from error
    except BaseException:
        close(client)
        raise


def close(client: Any) -> None:
    """Ends a client; only consumers have something to close."""
    if hasattr(client, "close"):
        client.close()
