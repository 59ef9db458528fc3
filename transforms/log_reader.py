"""The reader of a lane: one consumer for some partitions of a topic, at offsets that the lane gives, without gaps (contract line 8).

It subscribes to nothing: partitions are assigned with explicit offsets, `auto.offset.reset` is an error, and nothing is ever paused
(librdkafka keeps a pause across `assign`, which once stopped two partitions for good): what is not to be read is not assigned. Offsets
are committed to a consumer group only for others to look at.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from transforms.fetched import Fetched
from transforms.fold import Gap
from transforms.kafka_client import GONE, LOST, READING, topic_id
from transforms.kafka_headers import BadHeaders, ReadHeaders, read_headers

_APPEND_TIME = 2  # confluent_kafka.TIMESTAMP_LOG_APPEND_TIME

_PARTITION, _OFFSET, _TIMESTAMP = Message.partition, Message.offset, Message.timestamp
_KEY, _VALUE, _HEADERS = Message.key, Message.value, Message.headers

# librdkafka goes on by itself after these.
_PASSING = frozenset(
    code
    for code in (
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._PARTITION_EOF,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.OFFSET_NOT_AVAILABLE,
    )
)


class ReadFailed(RuntimeError):
    """The broker could not be asked or read. Not a contract error: it may succeed later."""


class WrongTopic(Gap):
    """The topic is not as the log of a stage must be."""


@dataclass(frozen=True)
class ReadKnobs:
    """How a reader trades memory and requests for throughput.

    fetch_wait_ms: how long a broker holds a fetch that finds less than fetch_min_bytes (a fetch asks for all partitions, so many small
    ones keep a broker busy); buffered: records that are fetched ahead per partition; buffered_kb: of all partitions together; timeout_s:
    for questions to the broker.
    """

    fetch_wait_ms: int = 100
    fetch_min_bytes: int = 1
    buffered: int = 20_000
    buffered_kb: int = 16_384
    timeout_s: float = 10

    def __post_init__(self) -> None:
        if min(self.fetch_wait_ms, self.fetch_min_bytes, self.buffered, self.buffered_kb) < 1 or self.timeout_s <= 0:
            raise ValueError(f"all settings of a reader must be above 0, got {self}")

    def properties(self) -> dict[str, Any]:
        """For librdkafka."""
        return {
            "fetch.wait.max.ms": self.fetch_wait_ms,
            "fetch.min.bytes": self.fetch_min_bytes,
            "fetch.queue.backoff.ms": 5,
            "queued.min.messages": self.buffered,
            "queued.max.messages.kbytes": self.buffered_kb,
        }


@dataclass(frozen=True)
class Bounds:
    """What a partition holds: offsets from `low` to before `end`."""

    low: int
    end: int


class TopicLookup:
    """Asks the broker which topic it is that has a name."""

    def __init__(self, settings: Mapping[str, Any], topic: str, timeout_s: float) -> None:
        self._admin: Any = AdminClient(dict(settings))
        self._topic, self._timeout_s = topic, timeout_s
        self._asked: Any = None

    def ask(self) -> None:
        """Asks again; `answer` then gives what came."""
        names = TopicCollection([self._topic])
        self._asked = self._admin.describe_topics(names, request_timeout=self._timeout_s)[self._topic]

    @property
    def answered(self) -> bool:
        """Whether `answer` has something to give, without waiting."""
        return self._asked is not None and bool(self._asked.done())

    def answer(self) -> tuple[str, int]:
        """(topic id, number of partitions); WrongTopic if there is no such topic, ReadFailed if the broker does not say."""
        asked, self._asked = self._asked, None
        try:
            found = asked.result(self._timeout_s)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise WrongTopic(f"{self._topic}: there is no such topic") from error
            raise ReadFailed(f"{self._topic}: {error.args[0].str()}") from error
        except TimeoutError as error:
            raise ReadFailed(f"{self._topic}: no answer within {self._timeout_s:g} s") from error
        return topic_id(str(found.topic_id)), len(found.partitions)


class LogReader:
    """Reads `topic` with the librdkafka properties `settings`; `from_clients` as in `read_headers`."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        group: str,
        from_clients: bool = False,
        knobs: ReadKnobs = ReadKnobs(),
    ) -> None:
        self.topic, self._from_clients, self._knobs = topic, from_clients, knobs
        self._next: dict[int, int] = {}  # partition → offset of the record that comes next
        self._consumer: Any = Consumer(
            {**knobs.properties(), **settings, **READING, "group.id": group, "check.crcs": True}
        )

    def seek(self, offsets: Mapping[int, int]) -> None:
        """The next records are those at `offsets`, by partition; of other partitions none come. Keeps what is fetched if it can."""
        if offsets == self._next:
            return
        self._next = dict(offsets)
        self._consumer.assign([TopicPartition(self.topic, number, offset) for number, offset in offsets.items()])

    def read(self, most: int, timeout: float) -> list[Fetched]:
        """Up to `most` records, those of a partition in offset order; waits up to `timeout` seconds for the first, and not for more.

        Gap if an offset is missing or not there any more, WrongTopic for a record without append time.
        """
        # `consume` would wait its whole timeout unless all came.
        first = self._consumer.poll(timeout)
        if first is None:
            return []
        messages = [first]
        if most > 1:
            messages += self._consumer.consume(most - 1, 0)
        numbers = list(map(_PARTITION, messages))
        found: list[Fetched] = []
        start, count = 0, len(messages)
        while start < count:
            number, end = numbers[start], start + 1
            while end < count and numbers[end] == number:
                end += 1
            one = self._fetched(number, messages if end - start == count else messages[start:end])
            if one is not None:
                found.append(one)
            start = end
        return found

    def _fetched(self, number: int, messages: list[Any]) -> Fetched | None:
        """Messages of one partition, as they came; None if none of them is a record."""
        first = self._next.get(number, -1)
        kinds, times = zip(*map(_TIMESTAMP, messages), strict=True)
        if kinds.count(_APPEND_TIME) < len(messages) or first < 0:  # errors have no time
            messages = [message for message in messages if self._is_record(message)]
            if not messages:
                return None
            _, times = zip(*map(_TIMESTAMP, messages), strict=True)
        count = len(messages)
        offsets = list(map(_OFFSET, messages))
        if offsets != list(range(first, first + count)):
            missing = next(offset for offset, found in enumerate(offsets, first) if offset != found)
            raise Gap(
                f"{self.topic}/{number}/{missing}: expected this offset, got {offsets[missing - first]}: records are missing "
                "(the topic is compacted, was cut, or is written in transactions)"
            )
        self._next[number] = first + count
        keys, values, headers = list(map(_KEY, messages)), list(map(_VALUE, messages)), list(map(_HEADERS, messages))
        read = None if headers.count(None) == count else self._read_headers(number, first, headers)
        return Fetched(number, first, list(times), keys, values, read)

    def _is_record(self, message: Any) -> bool:
        """Whether it is one that is wanted; raises for an error that does not pass by itself."""
        error, number = message.error(), message.partition()
        if error is None:
            if number in self._next and message.timestamp()[0] != _APPEND_TIME:
                raise WrongTopic(
                    f"{self.topic}/{number}/{message.offset()}: has no append time: set message.timestamp.type=LogAppendTime"
                )
            return number in self._next  # else it was fetched before the last `seek`
        code = error.code()
        if code in LOST:
            for partition, offset in self._next.items():
                check_within(self.topic, partition, offset, self.bounds([partition])[partition])
        elif code in GONE:
            raise WrongTopic(f"{self.topic}: there is no such topic or partition any more")
        if error.fatal() or code not in _PASSING:
            raise ReadFailed(f"{self.topic}: {error.str()}")
        return False

    def _read_headers(self, number: int, first: int, headers: list[Any]) -> list[ReadHeaders]:
        read = []
        for offset, those in enumerate(headers, first):
            try:
                read.append(read_headers(those, self._from_clients))
            except BadHeaders as error:
                raise BadHeaders(f"{self.topic}/{number}/{offset}: {error}") from None
        return read

    def bounds(self, partitions: Iterable[int]) -> dict[int, Bounds]:
        """What each of the partitions holds now, as the broker says."""
        found = {}
        for number in partitions:
            found[number] = Bounds(*self._watermarks(number))
        return found

    def _watermarks(self, number: int) -> tuple[int, int]:
        try:
            answer = self._consumer.get_watermark_offsets(
                TopicPartition(self.topic, number), self._knobs.timeout_s, cached=False
            )
        except KafkaException as error:
            code = error.args[0].code()
            if code in GONE:
                raise WrongTopic(f"{self.topic}/{number}: there is no such topic or partition") from error
            raise ReadFailed(f"{self.topic}/{number}: {error.args[0].str()}") from error
        if answer is None:
            raise ReadFailed(f"{self.topic}/{number}: no answer within {self._knobs.timeout_s:g} s")
        low, end = answer
        return low, end

    def end_seen(self, number: int) -> int:
        """The end of the partition as the last fetch told, without asking; -1 if none did yet."""
        answer = self._consumer.get_watermark_offsets(TopicPartition(self.topic, number), cached=True)
        return -1 if answer is None else max(-1, answer[1])

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tells the consumer group how far the lane is, for lag tools. Best effort: nothing ever starts there."""
        found = [TopicPartition(self.topic, number, offset) for number, offset in offsets.items()]
        with contextlib.suppress(KafkaException):
            self._consumer.commit(offsets=found, asynchronous=True)

    def close(self) -> None:
        """Leaves the broker."""
        self._consumer.close()


def check_within(topic: str, number: int, offset: int, bounds: Bounds) -> None:
    """Gap unless reading at `offset` gives the record that comes after those before it."""
    if offset < bounds.low:
        raise Gap(
            f"{topic}/{number}/{offset}: the log begins at {bounds.low}: retention has overtaken this reader, and "
            f"{bounds.low - offset} records are lost to it"
        )
    if offset > bounds.end:
        raise Gap(f"{topic}/{number}/{offset}: the log ends at {bounds.end}: it was cut, or is another one")
