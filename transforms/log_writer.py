"""The gapless writer (contract line 7): what one producer has written to a partition is a prefix of what it was given, in order.

An idempotent producer with acks=all, no message timeout and librdkafka's gapless guarantee; sizes are checked before producing, and the
partition is always explicit. The first delivery error ends the producer: whoever writes through it throws its shards away and restores
them, so that what was lost is written again by another producer.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from transforms.fold import ContractError
from transforms.kafka_headers import KafkaHeaders

Written = tuple[str, int, bytes | None, bytes, KafkaHeaders]  # topic, partition, key, value, headers

_HEAD = 4096  # room in a record for its key, its headers and the batch around it

_LOG = logging.getLogger(__name__)
# Each producer would warn that the gapless guarantee is experimental; `LogWriter` checks by itself what it promises.
_LOG.addFilter(lambda line: "enable.gapless.guarantee" not in line.getMessage())

_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")

# What line 7 needs; whoever sets one of these otherwise breaks it.
GAPLESS: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "message.timeout.ms": 0,
    "enable.gapless.guarantee": True,
    "delivery.report.only.error": True,
}


class WriteFailed(RuntimeError):
    """An output was not written. Not a contract error: another producer may succeed."""


class OutputTooLarge(ContractError):
    """An output is larger than what the topic takes; it would be so each time."""


@dataclass(frozen=True)
class WriteKnobs:
    """How a writer trades latency for throughput.

    linger_ms: how long a batch waits for more records; batch_bytes: how large it may become; compression: of batches.
    held: topics that nobody waits for, so that their records are kept back for up to hold_ms and leave together: the client sends a
    request for each partition that has something, and requests are what small batches cost a broker.
    max_bytes: of one record; the topics' `max.message.bytes` must be at least that. buffered: records that may wait for the broker.
    flush_timeout_s: how long to wait for a broker before the writer gives up; a checkpoint waits as long.
    """

    linger_ms: float = 0
    hold_ms: float = 0
    held: frozenset[str] = frozenset()
    batch_bytes: int = 1_000_000
    compression: str = "lz4"
    max_bytes: int = 2_200_000
    buffered: int = 1_000_000
    flush_timeout_s: float = 60

    def __post_init__(self) -> None:
        if min(self.linger_ms, self.hold_ms) < 0 or self.flush_timeout_s <= 0:
            raise ValueError(
                "linger_ms and hold_ms must be >= 0 and flush_timeout_s > 0, "
                f"got {self.linger_ms}, {self.hold_ms}, {self.flush_timeout_s}"
            )
        if self.batch_bytes < 1 or self.max_bytes <= 2 * _HEAD or self.buffered < 1:
            raise ValueError(
                f"batch_bytes and buffered must be >= 1, max_bytes > {2 * _HEAD}, "
                f"got {self.batch_bytes}, {self.buffered}, {self.max_bytes}"
            )
        if self.compression not in _COMPRESSIONS:
            raise ValueError(f"compression must be one of {', '.join(_COMPRESSIONS)}, got {self.compression!r}")

    def properties(self) -> dict[str, Any]:
        """For librdkafka, without those of GAPLESS."""
        return {
            "linger.ms": self.linger_ms,
            "batch.size": self.batch_bytes,
            "compression.type": self.compression,
            "message.max.bytes": self.max_bytes,
            "queue.buffering.max.messages": self.buffered,
            "queue.buffering.max.kbytes": max(1 << 20, self.max_bytes >> 9),
        }


@dataclass
class LogWriter:
    """Writes to explicit partitions through one producer with the librdkafka properties `settings`."""

    settings: Mapping[str, Any]
    knobs: WriteKnobs = field(default_factory=WriteKnobs)

    def __post_init__(self) -> None:
        self._failed: str | None = None
        self._held: list[Written] = []
        self._held_topics = self.knobs.held if self.knobs.hold_ms else frozenset()
        self._hold_until = 0.0
        # What someone has written into a file of properties is meant; a knob that was not touched is not.
        properties = {**self.knobs.properties(), **self.settings, **GAPLESS}
        self._largest = int(properties["message.max.bytes"]) - _HEAD
        self._producer: Any = Producer(
            {**properties, "on_delivery": self._delivered, "error_cb": self._error}, logger=_LOG
        )

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None and self._failed is None:
            self._failed = f"{message.topic()}/{message.partition()}: {error.str()}"

    def _error(self, error: KafkaError) -> None:
        """Errors that librdkafka overcomes by itself; a fatal one is raised in `_serve`."""
        _LOG.info("%s", error.str())

    def write(self, outputs: Sequence[Written]) -> None:
        """Hands records to the producer, those of a partition in order; OutputTooLarge or WriteFailed if one cannot be written."""
        held = self._held_topics
        if not held:
            self._produce(outputs)
            return
        kept = [output for output in outputs if output[0] in held]
        if kept:
            if not self._held:
                self._hold_until = time.monotonic() + self.knobs.hold_ms / 1000
            self._held += kept
        self._produce([output for output in outputs if output[0] not in held] if kept else outputs)

    @property
    def due_s(self) -> float:
        """Seconds until what is kept back is to leave with a `poll`; infinite if nothing is."""
        return max(0.0, self._hold_until - time.monotonic()) if self._held else math.inf

    def release(self) -> None:
        """Lets go what is kept back: nobody polls for a while."""
        held, self._held = self._held, []
        self._produce(held)

    def _produce(self, outputs: Sequence[Written]) -> None:
        produce, largest = self._producer.produce, self._largest
        for topic, partition, key, value, headers in outputs:
            if len(value) > largest:
                self._refuse(topic, partition, len(value))
            try:
                produce(topic, value, key, partition, None, None, 0, headers)
            except BufferError:
                self._write_with_room(topic, partition, key, value, headers)
            except KafkaException as error:
                raise self._fail(f"{topic}/{partition}: {error.args[0].str()}") from error

    def _refuse(self, topic: str, partition: int, size: int) -> None:
        raise OutputTooLarge(f"{topic}/{partition}: a value of {size} bytes, at most {self._largest} can be written")

    def _write_with_room(
        self, topic: str, partition: int, key: bytes | None, value: bytes, headers: KafkaHeaders
    ) -> None:
        """Waits until the broker has taken some of what is buffered."""
        end = time.monotonic() + self.knobs.flush_timeout_s
        while True:
            self._poll(0.01)
            try:
                self._producer.produce(topic, value, key, partition, None, None, 0, headers)
                return
            except BufferError:
                if time.monotonic() >= end:
                    raise self._fail(
                        f"no room for more than {len(self._producer)} records that the broker has not taken"
                    ) from None

    def poll(self, timeout: float = 0) -> None:
        """Serves the producer's events; WriteFailed if one of them was a failure."""
        if self._held and time.monotonic() >= self._hold_until:
            self.release()
        self._poll(timeout)

    def _poll(self, timeout: float) -> None:
        self._serve(lambda: self._producer.poll(timeout))

    def flush(self) -> None:
        """Returns when everything is acknowledged by all replicas; WriteFailed if it will not be, or not in time."""
        if self._held:
            self.release()
        if left := self._serve(lambda: self._producer.flush(self.knobs.flush_timeout_s)):
            raise self._fail(f"{left} records not acknowledged within {self.knobs.flush_timeout_s:g} s")

    def _serve(self, call: Callable[[], int]) -> int:
        try:
            left = call()
        except (KafkaException, SystemError) as error:  # a fatal error, alone or behind a callback that came after it
            raise self._fail(self._failed or str(error.__cause__ or error)) from error
        if self._failed is not None:
            raise self._fail(self._failed)
        return left

    def _fail(self, why: str) -> WriteFailed:
        """This producer is of no more use: what it holds would come later than what its successor writes."""
        self._failed = why
        self.close()
        return WriteFailed(why)

    def close(self) -> None:
        """Drops what is not acknowledged."""
        with contextlib.suppress(KafkaException, SystemError):
            self._producer.purge()
            self._producer.flush(0)
