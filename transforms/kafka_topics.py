"""Topics of a Kafka cluster: made where they are missing, compared where they are there; ids, offsets and lag."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from transforms.kafka_client import KafkaFailure, connect, failure, topic_id
from transforms.kafka_settings import KafkaSettings
from transforms.topic_settings import Difference, TopicSettings, differences

TIMEOUT = 10.0  # seconds that one call may take


class TopicInfo(NamedTuple):
    """A topic as the cluster has it.

    id: tells it from another of the same name, before or after it; replicas: the fewest that a partition has.
    """

    name: str
    id: str
    partitions: int
    replicas: int


class KafkaTopics:
    """Looks at and makes topics; KafkaFailure, in one line, for what the cluster refuses."""

    def __init__(self, settings: KafkaSettings, timeout: float = TIMEOUT) -> None:
        self._settings, self._servers, self._timeout = settings, settings.servers, timeout
        self._admin, self._errors = connect(AdminClient, settings, {}, timeout)
        self._consumer: Any = None

    def close(self) -> None:
        """Ends its connections."""
        if self._consumer is not None:
            self._consumer.close()

    def find(self, names: Sequence[str]) -> dict[str, TopicInfo]:
        """Those of the topics that are there."""
        found = {}
        for name, future in self._ask("describe_topics", TopicCollection(list(names))).items() if names else ():
            try:
                about = self._result(future, name)
            except _Unknown:
                continue
            replicas = min((len(partition.replicas) for partition in about.partitions), default=0)
            found[name] = TopicInfo(name, topic_id(about.topic_id), len(about.partitions), replicas)
        return found

    def info(self, name: str) -> TopicInfo:
        """KafkaFailure if there is no such topic."""
        found = self.find([name])
        if name not in found:
            raise KafkaFailure(f"{self._servers}: no topic {name}")
        return found[name]

    def create(self, topics: Sequence[TopicSettings]) -> list[str]:
        """Makes those that are missing, and gives their names when they can be written. Those that are there stay as they are."""
        there = self.find([topic.name for topic in topics])
        missing = [topic for topic in topics if topic.name not in there]
        new = [NewTopic(t.name, t.partitions, t.replicas, config=t.config()) for t in missing]
        made = []
        for name, future in self._ask("create_topics", new, operation_timeout=self._timeout).items() if new else ():
            try:
                self._result(future, name)
                made.append(name)
            except _Exists:  # another launch was faster
                pass
        self._await_leaders(made)
        return made

    def _await_leaders(self, names: Sequence[str]) -> None:
        """A new topic is there before its partitions are."""
        end = time.monotonic() + self._timeout
        missing = set(names)
        while missing:
            topics = self._list()
            missing = {name for name in missing if not _ready(topics.get(name))}
            if missing and time.monotonic() > end:
                raise KafkaFailure(f"{self._servers}: no leader for {sorted(missing)[0]} within {self._timeout:g} s")
            time.sleep(0.02 if missing else 0)

    def _list(self) -> Mapping[str, Any]:
        with self._told(self._servers):
            topics: Mapping[str, Any] = self._admin.list_topics(timeout=self._timeout).topics
            return topics

    def differences(self, topics: Sequence[TopicSettings]) -> list[Difference]:
        """What is not as it should be, missing topics included; topics and settings in order."""
        there, found = self.find([topic.name for topic in topics]), []
        names = [ConfigResource(ResourceType.TOPIC, name) for name in there]
        asked = self._ask("describe_configs", names).items() if names else ()
        configs: dict[str, Mapping[str, str]] = {}
        for resource, future in asked:
            entries = self._result(future, resource.name).values()
            configs[resource.name] = {entry.name: entry.value for entry in entries if entry.value is not None}
        for topic in topics:
            if topic.name not in there:
                found.append(Difference(topic.name, "topic", "missing", ""))
            else:
                about = there[topic.name]
                found += differences(topic, about.partitions, about.replicas, configs[topic.name])
        return found

    def delete(self, names: Sequence[str]) -> None:
        """Deletes topics, for tests and for what is thrown away. Those that are not there are no error."""
        for name, future in self._ask("delete_topics", list(names), operation_timeout=self._timeout).items():
            with suppress(_Unknown):
                self._result(future, name)

    def watermarks(self, name: str) -> list[tuple[int, int]]:
        """(first offset that is there, offset that the next record gets), by partition."""
        return [
            self._consume("get_watermark_offsets", TopicPartition(name, n)) for n in range(self.info(name).partitions)
        ]

    def at_time(self, name: str, time_ms: int) -> list[int]:
        """The first offset appended at or after this time, by partition; where there is none, the end."""
        ends = [end for _, end in self.watermarks(name)]
        found = self._consume("offsets_for_times", [TopicPartition(name, n, time_ms) for n in range(len(ends))])
        for part in found:
            if part.error is not None:
                raise failure(f"{self._servers}: {name}/{part.partition}", KafkaException(part.error))
        offsets = {part.partition: part.offset for part in found}
        return [end if offsets[n] < 0 else offsets[n] for n, end in enumerate(ends)]

    def committed(self, name: str, group: str) -> list[int | None]:
        """What a consumer group has committed, by partition; None where it has not."""
        asked = [TopicPartition(name, partition) for partition in range(self.info(name).partitions)]
        request = [ConsumerGroupTopicPartitions(group, asked)]
        answer = self._coordinated(lambda: self._ask("list_consumer_group_offsets", request)[group], group)
        offsets = {part.partition: part.offset for part in answer.topic_partitions}
        return [offsets[n] if offsets.get(n, -1) >= 0 else None for n in range(len(asked))]

    def lag(self, name: str, group: str) -> list[int]:
        """Records that the group has not committed yet, by partition; all that are there where it has committed none."""
        marks, committed = self.watermarks(name), self.committed(name, group)
        starts = (low if offset is None else offset for (low, _), offset in zip(marks, committed, strict=True))
        return [max(0, high - start) for (_, high), start in zip(marks, starts, strict=True)]

    def _consume(self, call: str, argument: Any) -> Any:
        """Asks a consumer, of no group: AdminClient.list_offsets leaks, and now and then ends the process, where a topic is new."""
        with self._told(self._servers):
            if self._consumer is None:
                group = {"group.id": "beam-on-rails.offsets", "enable.auto.commit": False}
                self._consumer, _ = connect(Consumer, self._settings, group, self._timeout)
            return getattr(self._consumer, call)(argument, timeout=self._timeout)

    def _ask(self, call: str, *arguments: Any, **options: Any) -> dict[Any, Any]:
        with self._told(self._servers):
            answers: dict[Any, Any] = getattr(self._admin, call)(*arguments, request_timeout=self._timeout, **options)
            return answers

    def _result(self, future: Any, name: str) -> Any:
        with self._told(f"{self._servers}: {name}"):
            return future.result()

    def _coordinated(self, ask: Callable[[], Any], group: str) -> Any:
        """Asks until the group has a coordinator, which it has not at first, or when a broker has just come back."""
        end = time.monotonic() + self._timeout
        while True:
            try:
                return self._result(ask(), group)
            except _NotYet:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    @contextmanager
    def _told(self, where: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            code = error.args[0].code()
            self._admin.poll(0)
            self._errors.check()
            raise _KINDS.get(code, KafkaFailure)(str(failure(where, error))) from None


class _Unknown(KafkaFailure):
    """No such topic."""


class _Exists(KafkaFailure):
    """A topic that is there already."""


class _NotYet(KafkaFailure):
    """A coordinator of a group that is still starting."""


_KINDS: dict[int, type[KafkaFailure]] = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: _Unknown,
    KafkaError.TOPIC_ALREADY_EXISTS: _Exists,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS: _NotYet,
    KafkaError.COORDINATOR_NOT_AVAILABLE: _NotYet,
    KafkaError.NOT_COORDINATOR: _NotYet,
}


def _ready(topic: Any) -> bool:
    return topic is not None and bool(topic.partitions) and all(part.leader >= 0 for part in topic.partitions.values())
