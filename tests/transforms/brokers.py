"""A broker in memory, with the reader, the writer and the topic information that a lane opens, and their faults."""

import math
import threading
from collections.abc import Mapping, Sequence

from schemas.rails import Record
from transforms.fetched import Fetched
from transforms.fold import Gap, Topic
from transforms.kafka_headers import VERSION, read_headers
from transforms.lanes import Connections
from transforms.log_reader import Bounds
from transforms.log_writer import WriteFailed, Written


class Broker:
    """Topics by name; a record's append time is the number of appends so far, a second each."""

    def __init__(self, topics: Sequence[Topic]) -> None:
        self.logs = {
            topic.name: {n: list[tuple[Record, bytes | None]]() for n in range(topic.partitions)} for topic in topics
        }
        self.ids = {topic.name: f"id-of-{topic.name}" for topic in topics}
        self.lows: dict[tuple[str, int], int] = {}
        self.versions: list[tuple[str, bytes | None, int, bytes]] = []  # upserts
        self.committed: dict[tuple[str, int], int] = {}
        self.now = 1_760_000_000_000
        self.fail_writes_after: int | None = None  # so many more are written
        self.lose_acknowledgements = False
        self.lock = threading.Lock()

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: object = None
    ) -> None:
        with self.lock:
            self._append(topic, partition, key, value, headers)

    def _append(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: object) -> None:
        log = self.logs[topic][partition]
        self.now += 1000
        origin, others, trace = read_headers(headers, topic.endswith(".in"))  # type: ignore[arg-type]
        log.append((Record(len(log), self.now, key, value, origin, others), trace))

    def records(self, topic: str) -> dict[int, list[Record]]:
        return {number: [record for record, _ in log] for number, log in self.logs[topic].items()}

    def connections(self, topic: Topic) -> Connections:
        return Connections(
            reader=lambda: FakeReader(self, topic.name),  # type: ignore[arg-type,return-value]
            writer=lambda: FakeWriter(self),  # type: ignore[arg-type,return-value]
            topic=lambda: FakeTopic(self, topic.name),  # type: ignore[arg-type,return-value]
        )


class FakeTopic:
    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker, self.topic, self.answered = broker, topic, False

    def ask(self) -> None:
        self.answered = True

    def answer(self) -> tuple[str, int]:
        self.answered = False
        return self.broker.ids[self.topic], len(self.broker.logs[self.topic])


class FakeReader:
    """Gives the partitions by turns; `deaf` are some that it never reads, though they are assigned."""

    deaf: tuple[int, ...] = ()

    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker, self.topic = broker, topic
        self.next: dict[int, int] = {}

    def seek(self, offsets: Mapping[int, int]) -> None:
        self.next = dict(offsets)

    def read(self, most: int, timeout: float) -> list[Fetched]:
        found = []
        for number, offset in self.next.items():
            low = self.broker.lows.get((self.topic, number), 0)
            if offset < low:
                raise Gap(f"{self.topic}/{number}/{offset}: the log begins at {low}")
            part = self.broker.logs[self.topic][number][offset : offset + most]
            if part and number not in self.deaf:
                records = [record for record, _ in part]
                read = [(record.origin, record.headers, trace) for record, trace in part]
                plain = all(one == (None, (), None) for one in read)
                columns = [list(column) for column in zip(*records, strict=True)]
                found.append(Fetched(number, offset, columns[1], columns[2], columns[3], None if plain else read))
                self.next[number] = offset + len(part)
        return found

    def bounds(self, partitions: Sequence[int]) -> dict[int, Bounds]:
        logs = self.broker.logs[self.topic]
        return {n: Bounds(self.broker.lows.get((self.topic, n), 0), len(logs[n])) for n in partitions}

    def end_seen(self, number: int) -> int:
        return len(self.broker.logs[self.topic][number])

    def commit(self, offsets: Mapping[int, int]) -> None:
        for number, offset in offsets.items():
            self.broker.committed[self.topic, number] = offset

    def close(self) -> None:
        self.next = {}


class FakeWriter:
    """Holds what it is given; a poll lets the broker have the first half of it, a flush all, and a close drops it."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.closed = broker, False
        self.held: list[Written] = []

    def write(self, outputs: Sequence[Written]) -> None:
        assert not self.closed
        self.held += outputs

    due_s = math.inf

    def poll(self) -> None:
        self._send(len(self.held) // 2)

    def release(self) -> None: ...

    def flush(self) -> None:
        self._send(len(self.held))
        if self.broker.lose_acknowledgements:
            self.broker.lose_acknowledgements = False
            raise WriteFailed("not acknowledged")

    def _send(self, count: int) -> None:
        broker = self.broker
        for _ in range(count):
            if broker.fail_writes_after is not None:
                if broker.fail_writes_after == 0:
                    broker.fail_writes_after = None
                    raise WriteFailed("no broker")
                broker.fail_writes_after -= 1
            topic, partition, key, value, headers = self.held.pop(0)
            names = dict(headers)
            if VERSION in names:
                broker.versions.append((topic, key, int.from_bytes(names[VERSION], "big"), value))
            else:
                broker.append(topic, partition, key, value, headers)

    def close(self) -> None:
        self.closed = True
