"""Reading a log topic from outside, each record once: a plain consumer with saved marks, without Beam and without a processor.

docs/reading-from-outside.md says for other languages what this does.
"""

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.rails import Record
from transforms.errors import InputError
from transforms.fold import Gap
from transforms.kafka_client import LOST, READING, connect, failure
from transforms.kafka_headers import BadHeaders, read_headers
from transforms.kafka_settings import KafkaSettings
from transforms.kafka_topics import KafkaTopics
from transforms.origin_filter import OriginFilter
from transforms.whole_files import whole_file

CHECK_SECONDS = 10.0  # between two looks at the topic's id


class MarksError(InputError):
    """Saved marks that are none, or are another topic's; one line."""


class Marks(Protocol):
    """Where the reader's place is kept. Best where the results are, in one transaction with them."""

    def load(self) -> bytes | None:
        """What was saved last; None if nothing was."""
        ...

    def save(self, saved: bytes) -> None:
        """Keeps this in place of what was there."""
        ...


class FileMarks:
    """Marks in a file, which appears whole."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self) -> bytes | None:
        with suppress(FileNotFoundError):
            return self.path.read_bytes()
        return None

    def save(self, saved: bytes) -> None:
        with whole_file(self.path) as file:
            file.write(saved)


class Found(NamedTuple):
    """A record and the partition that it stands on."""

    partition: int
    record: Record


class _Place:
    """Where the reader stands on one partition. began: the offset of its very first record."""

    def __init__(self, offset: int, began: int, marks: OriginFilter) -> None:
        self.offset, self.began, self.marks = offset, began, marks


class OutsideReader:
    """Iterates over the new records of a topic, those of each partition in offset order, for ever; `until_end` only over what is there.

    `save()` keeps how far the records *given so far* go: call it when what was made of them is durable. After a crash the records since
    then are given again, and no others. `more` says that another record may come without a fetch: whoever saves only where it is false
    saves once for all that came together. Without marks it begins at offset 0; from_oldest: at the oldest record that is still there, if
    offset 0 is not (the first record of each writer is then taken for its beginning).

    Gap: records are missing, or the topic is another one than the marks are of. MissingRecord, ForkedWriter: see `OriginFilter`; nothing
    more is given then. KafkaFailure, MarksError. Only for topics that stages write: on those of clients origins prove nothing.
    """

    def __init__(
        self, settings: KafkaSettings, topic: str, marks: Marks, from_oldest: bool = False, wait: float = 1.0
    ) -> None:
        if not topic or type(topic) is not str:
            raise ValueError(f"OutsideReader: topic must be a name, got {topic!r}")
        if not 0 < wait <= 60:
            raise ValueError(f"OutsideReader: wait must be above 0 and at most 60 seconds, got {wait!r}")
        self.topic, self._marks, self._wait = topic, marks, wait
        self._topics = KafkaTopics(settings)
        info = self._topics.info(topic)
        self._id = info.id
        places = self._load(marks.load(), info.partitions)
        bounds = self._topics.watermarks(topic)
        self._places: dict[int, _Place] = {}
        for number, (low, high) in enumerate(bounds):
            place = places.get(number)
            if place is None:
                if low and not from_oldest:
                    raise Gap(
                        f"{topic}/{number}: the log begins at {low}, and there are no marks (from_oldest would begin there)"
                    )
                place = _Place(low, low, OriginFilter(topic, number))
            if not low <= place.offset <= high:
                raise Gap(f"{topic}/{number}: the marks are at {place.offset}, the log holds {low} to {high}")
            self._places[number] = place
        properties = {**READING, "group.id": "beam-on-rails.outside", "enable.partition.eof": True}
        self._consumer, self._errors = connect(Consumer, settings, properties)
        self._consumer.assign([TopicPartition(topic, number, place.offset) for number, place in self._places.items()])
        self._checked = time.monotonic()
        self._waiting: list[deque[Any]] = [deque() for _ in self._places]

    def __iter__(self) -> Iterator[Found]:
        while True:
            yield from self._new([None] * len(self._places))
            self._fetch()

    def until_end(self) -> Iterator[Found]:
        """The new records of those that are there now."""
        ends = [high for _, high in self._topics.watermarks(self.topic)]
        while True:
            yield from self._new(ends)
            if all(place.offset >= end for place, end in zip(self._places.values(), ends, strict=True)):
                return
            self._fetch()

    def save(self) -> None:
        """Keeps the place behind the records given so far."""
        places = [
            {
                "partition": number,
                "offset": place.offset,
                "began": place.began,
                "filter": json.loads(place.marks.save()),
            }
            for number, place in self._places.items()
        ]
        self._marks.save(json.dumps({"topic": self.topic, "id": self._id, "places": places}).encode())

    @property
    def more(self) -> bool:
        """Whether records that were fetched have not been given yet."""
        return any(self._waiting)

    def close(self) -> None:
        """Ends the connections; saves nothing."""
        self._consumer.close()
        self._topics.close()

    def _load(self, saved: bytes | None, partitions: int) -> dict[int, _Place]:
        if saved is None:
            return {}
        try:
            content = json.loads(saved)
            topic, topic_id = content["topic"], content["id"]
            places = {
                int(place["partition"]): _Place(
                    int(place["offset"]), int(place["began"]), OriginFilter.load(json.dumps(place["filter"]).encode())
                )
                for place in content["places"]
            }
        except (ValueError, TypeError, KeyError):
            raise MarksError(f"{self.topic}: the saved marks are none") from None
        if topic != self.topic:
            raise MarksError(f"{self.topic}: the saved marks are of the topic {topic}")
        if topic_id != self._id:
            raise Gap(f"{self.topic}: the topic was re-created: its id is {self._id}, the marks are of {topic_id}")
        if sorted(places) != list(range(partitions)):
            raise Gap(f"{self.topic}: has {partitions} partitions, the marks have {len(places)}")
        return places

    def _fetch(self) -> None:
        first = self._consumer.poll(self._wait)  # `consume` would wait its whole timeout unless all came
        self._errors.check()
        if time.monotonic() - self._checked > CHECK_SECONDS:
            self._checked = time.monotonic()
            if (found := self._topics.info(self.topic).id) != self._id:
                raise Gap(f"{self.topic}: the topic was re-created: its id is {found}, it was {self._id}")
        for message in [] if first is None else [first, *self._consumer.consume(999, 0)]:
            if message.error() is None:
                self._waiting[message.partition()].append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                self._check_end(message.partition(), message.offset())
            else:
                self._stop(message)

    def _check_end(self, number: int, end: int) -> None:
        """What stands before the end of a partition is given to readers, or it is no log."""
        expected = self._waiting[number][-1].offset() + 1 if self._waiting[number] else self._places[number].offset
        if end != expected:
            raise Gap(f"{self.topic}/{number}: expected offset {expected}, but the log ends at {end}")

    def _new(self, ends: Sequence[int | None]) -> Iterator[Found]:
        """Takes what waits one by one, so that `save` never counts a record that was not given yet."""
        for number, end in enumerate(ends):
            place, waiting = self._places[number], self._waiting[number]
            while waiting and (end is None or place.offset < end):
                record = self._record(waiting.popleft())
                if record.offset != place.offset:
                    raise Gap(f"{self.topic}/{number}: expected offset {place.offset}, got {record.offset}")
                new = self._is_new(place, record)
                place.offset += 1
                if new:
                    yield Found(number, record)

    def _is_new(self, place: _Place, record: Record) -> bool:
        if record.origin is not None and place.began > 0:
            source, prev = record.origin.source, record.origin.prev
            if source not in place.marks.marks and prev is not None:
                place.marks.marks[source] = prev.offset, prev.index
        return place.marks.is_new(record)

    def _record(self, message: Any) -> Record:
        number, offset = message.partition(), message.offset()
        kind, at = message.timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            raise Gap(f"{self.topic}/{number}/{offset}: has no append time, so this is no log of ours")
        try:
            origin, headers, _ = read_headers(message.headers())
        except BadHeaders as error:
            raise BadHeaders(f"{self.topic}/{number}/{offset}: {error}") from None
        return Record(offset, at, message.key(), message.value(), origin, headers)

    def _stop(self, message: Any) -> None:
        error, where = message.error(), f"{self.topic}/{message.partition()}"
        if error.code() in LOST:
            raise Gap(
                f"{where}: the next record is not there any more: retention has overtaken the reader, or the log was cut"
            )
        raise failure(where, KafkaException(error))
