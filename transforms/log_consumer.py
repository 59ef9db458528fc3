"""Consumers of a log: they stand where they are told to, and stop at everything that is not the log going on (contract line 8)."""

import contextlib
import threading
import time
import zlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from transforms.errors import InputError
from transforms.kafka_client import GONE, LOST, READING, connect, failure
from transforms.kafka_settings import KafkaSettings
from transforms.kafka_topics import KafkaTopics
from transforms.log_messages import encode_run
from transforms.log_ranges import LogRanges, Range
from transforms.log_reader import ReadKnobs

CHECK_SECONDS = 10.0  # between two looks at the topic's id


class LogGap(InputError):
    """The log does not go on where the reader stands: records are missing, it was cut, or another topic has its name."""


@dataclass(frozen=True)
class LogName:
    """What is read, and how strictly.

    partitions: of the whole topic. compacted: whether offsets may be missing. append_time: whether records must have the log's own times.
    from_clients: whether clients write here, so that origins prove nothing.
    """

    topic: str
    partitions: int
    compacted: bool = False
    append_time: bool = True
    from_clients: bool = False


class Taken(NamedTuple):
    """Consecutive records of one partition."""

    partition: int
    messages: list[Message]


class LogConsumer:
    """One consumer of some partitions of a log. Not for two threads at once.

    positions: offset of the next record that `take` gives, by partition; clocks: time of the record before the one where it was
    told to stand. `group`: whose offsets it commits.
    """

    def __init__(self, settings: KafkaSettings, log: LogName, group: str = "") -> None:
        self.settings, self.log = settings, log
        self.positions: dict[int, int] = {}
        self.clocks: dict[int, int] = {}
        self._ended: dict[int, float] = {}  # since when at the end
        self._before: dict[int, Range] = {}  # to be compared with the record before
        self._checked = -CHECK_SECONDS
        given = {name for name, _ in settings.properties}
        fetching = {name: value for name, value in ReadKnobs().properties().items() if name not in given}
        self._topics = KafkaTopics(settings)
        self._consumer, self._errors = connect(
            Consumer,
            settings,
            {**fetching, **READING, "enable.partition.eof": True, "group.id": group or "beam-on-rails.log"},
        )

    def close(self) -> None:
        """Ends its connections."""
        self._consumer.close()
        self._topics.close()

    def stands_at(self, where: LogRanges) -> bool:
        """Whether the next records are those of `where`, without going there."""
        return self.positions == {part.partition: part.offset for part in where.ranges if not part.done}

    def go_to(self, where: LogRanges) -> None:
        """Stands at `where` from now on; LogGap if the log is not what it was, or does not hold the next record any more."""
        stands, now = self.stands_at(where), time.monotonic()
        if not stands or now - self._checked > CHECK_SECONDS:
            self._check_topic(where.topic_id)
            self._checked = now
        if stands:
            return
        self.positions, self.clocks, self._ended, self._before = {}, {}, {}, {}
        assigned = []
        for part in where.ranges:
            if part.done:
                continue
            low, high = self._watermarks(part.partition)
            self._check_bounds(part.partition, part.offset, low, high)
            start = part.offset
            if start > low:  # the record before says the clock, and whether this is the log that was read
                start -= 1
                self._before[part.partition] = part
            self.positions[part.partition] = part.offset
            assigned.append(TopicPartition(self.log.topic, part.partition, start))
        self._consumer.assign(assigned)

    def leave(self, partition: int) -> None:
        """Takes no more records of this partition."""
        if self.positions.pop(partition, None) is not None:
            self._ended.pop(partition, None)
            self._consumer.incremental_unassign([TopicPartition(self.log.topic, partition)])

    def take(self, wait: float, most: int) -> list[Taken]:
        """Up to `most` records, those of each partition in order; waits up to `wait` seconds for the first.

        `positions` are behind them when they are given. LogGap, or KafkaFailure for what the cluster refuses.
        """
        first = self._consumer.poll(wait)  # `consume` would wait its whole timeout unless `most` came
        self._errors.check()
        if first is None:
            return []
        messages = [first, *self._consumer.consume(most - 1, 0)]
        if not any(map(Message.error, messages)):
            return self._runs(messages)
        taken, run = [], []
        for message in messages:
            if message.error() is None:
                run.append(message)
            else:
                taken += self._runs(run)
                run = []
                self._hear(message)
        return taken + self._runs(run)

    def idle_ms(self, partition: int) -> float:
        """For how long the partition has been at its end; 0 if it is not."""
        since = self._ended.get(partition)
        return 0 if since is None else 1000 * (time.monotonic() - since)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tells the group how far its readers are. Best effort: it is for lag tools, and for starting there."""
        parts = [TopicPartition(self.log.topic, partition, offset) for partition, offset in offsets.items()]
        with contextlib.suppress(KafkaException):
            self._consumer.commit(offsets=parts, asynchronous=False)

    def _runs(self, messages: list[Message]) -> list[Taken]:
        if not messages:
            return []
        partitions = list(map(Message.partition, messages))
        groups: dict[int, list[Message]] = {}
        if partitions.count(partitions[0]) == len(partitions):
            groups[partitions[0]] = messages
        else:
            for partition, message in zip(partitions, messages, strict=True):
                groups.setdefault(partition, []).append(message)
        # What was fetched before a partition was left does not count.
        runs = (self._run(each, groups[each]) for each in groups if each in self.positions)
        return [run for run in runs if run.messages]

    def _run(self, partition: int, messages: list[Message]) -> Taken:
        expected = self.positions[partition]
        before = self._before.pop(partition, None)
        if before is not None and messages[0].offset() == expected - 1:
            self.clocks[partition] = self._compare(messages[0], before)
            messages = messages[1:]
        if messages:
            offsets, count = list(map(Message.offset, messages)), len(messages)
            if offsets != list(range(expected, expected + count)):
                self._explain(partition, expected, offsets)
            self.positions[partition] = offsets[-1] + 1
            self._ended.pop(partition, None)
        return Taken(partition, messages)

    def _explain(self, partition: int, expected: int, offsets: list[int]) -> None:
        """LogGap, unless offsets only rise and holes are allowed."""
        for offset in offsets:
            if offset < expected or (offset > expected and not self.log.compacted):
                what = "came again" if offset < expected else "came"
                raise LogGap(f"{self.log.topic}/{partition}: expected offset {expected}, but {offset} {what}")
            expected = offset + 1

    def _compare(self, message: Message, before: Range) -> int:
        """The time of the record before; LogGap if it is not the one that was read."""
        run = encode_run([message], self.log.from_clients, self.log.append_time)
        if before.checksum not in (0, zlib.crc32(run.payload)):
            where = f"{self.log.topic}/{before.partition}"
            raise LogGap(f"{where}: the record at {before.offset - 1} is another one than was read: the log was cut")
        return run.most

    def _hear(self, message: Message) -> None:
        """What comes among records and is none: the end of a partition, or what ends the reading."""
        error, partition = message.error(), message.partition()
        expected = self.positions.get(partition)
        if expected is None:
            return
        where = f"{self.log.topic}/{partition}"
        if error.code() == KafkaError._PARTITION_EOF:
            end = message.offset()
            if end > expected:  # what stands there is not given to readers
                if not self.log.compacted:
                    raise LogGap(f"{where}: expected offset {expected}, but the log ends at {end}")
                self.positions[partition] = end
            if end >= expected:
                self._ended[partition] = time.monotonic()
            return
        if error.code() in LOST:
            self._check_bounds(partition, expected, *self._watermarks(partition))
        if error.code() in GONE:
            raise LogGap(f"{where}: there is no such topic or partition any more")
        if error.retriable() and not error.fatal():  # librdkafka goes on by itself
            return
        raise failure(where, KafkaException(error))

    def _check_topic(self, topic_id: str) -> None:
        found = self._topics.info(self.log.topic)
        if found.id != topic_id:
            raise LogGap(f"{self.log.topic}: the topic was re-created: its id is {found.id}, it was {topic_id}")
        if found.partitions != self.log.partitions:
            raise LogGap(f"{self.log.topic}: has {found.partitions} partitions, should have {self.log.partitions}")

    def _watermarks(self, partition: int) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self.log.topic, partition), timeout=10)
        except KafkaException as error:
            raise failure(f"{self.log.topic}/{partition}", error) from None
        return low, high

    def _check_bounds(self, partition: int, offset: int, low: int, high: int) -> None:
        where = f"{self.log.topic}/{partition}"
        if offset < low:
            raise LogGap(f"{where}: retention has overtaken the reader, which is at {offset}: the log begins at {low}")
        if offset > high:
            raise LogGap(f"{where}: the log was cut: it ends at {high}, and the reader is at {offset}")


class ConsumerPool:
    """The consumers of this process that nobody reads with at the moment.

    A DoFn is made again and again, and its residuals go on in other instances: consumers of their own would add up, each fetching for
    nobody. At most one waits for each group of partitions; one that nobody wants for a while is closed.
    """

    def __init__(self, idle_seconds: float = 60) -> None:
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[tuple[float, LogConsumer]]] = {}

    def take(self, key: Hashable, make: Callable[[], LogConsumer], where: LogRanges | None = None) -> LogConsumer:
        """One for this key, that stands at `where` if there is such a one; it is the caller's until `give`."""
        with self._lock:
            waiting = self._waiting.get(key, [])
            waiting.sort(key=lambda each: where is not None and each[1].stands_at(where))
            found = waiting.pop()[1] if waiting else None
        self._sweep()
        return found or make()

    def give(self, key: Hashable, consumer: LogConsumer, most: int = 2) -> None:
        """Back to those that wait. `most`: that wait for one key, as two readers of a job may read the same partitions."""
        with self._lock:
            waiting = self._waiting.setdefault(key, [])
            waiting.append((time.monotonic(), consumer))
            extra = [each for _, each in waiting[:-most]]
            del waiting[:-most]
        for each in extra:
            each.close()

    def _sweep(self) -> None:
        """Closes those that nobody has wanted for long: their partitions are read in another process."""
        least = time.monotonic() - self._idle_seconds
        with self._lock:
            old = [each for waiting in self._waiting.values() for since, each in waiting if since < least]
            self._waiting = {
                key: kept
                for key, all_ in self._waiting.items()
                if (kept := [each for each in all_ if each[0] >= least])
            }
        for consumer in old:
            consumer.close()

    def clear(self) -> None:
        """Closes all that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            for _, consumer in each:
                consumer.close()
