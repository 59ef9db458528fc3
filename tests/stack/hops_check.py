"""Whether what two live stages left on a real broker is what a plain fold in memory writes."""

import time
from collections.abc import Mapping

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.rails import Record
from tests.transforms import hops
from transforms.fold_bounded import Engine
from transforms.log_reader import LogReader, TopicLookup

Logs = dict[int, list[Record]]


class Hops:
    """The topics of `tests.transforms.hops` on a broker. They have fixed names, so all are made anew."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.settings = {"bootstrap.servers": bootstrap, "log_level": 0}
        self.admin = AdminClient(self.settings)
        self.sent = 0

    def make_topics(self) -> None:
        there = set(self.admin.list_topics(timeout=10).topics)
        for deleted in self.admin.delete_topics([t.name for t in hops.TOPICS if t.name in there] or ["none"]).values():
            deleted.exception(10)
        config = {"message.timestamp.type": "LogAppendTime"}
        for topic in hops.TOPICS:
            new = NewTopic(topic.name, topic.partitions, 1, config=config)
            end = time.monotonic() + 20
            while self.admin.create_topics([new])[topic.name].exception(10) is not None:
                assert time.monotonic() < end, f"{topic.name} is not deleted yet"
                time.sleep(0.1)

    def pay(self, count: int) -> None:
        """So many payments, others each time."""
        self.sent += 1
        producer = Producer({**self.settings, "linger.ms": 5})
        for partition, key, value in hops.payments(count, self.sent):
            producer.produce(hops.IN.name, value, key, partition)
        assert producer.flush(30) == 0

    def read(self, topic: str, partitions: int) -> Logs:
        """All records of a topic."""
        reader = LogReader(self.settings, topic, "check", from_clients=topic == hops.IN.name)
        ends = {number: bounds.end for number, bounds in reader.bounds(range(partitions)).items()}
        logs: Logs = {number: [] for number in range(partitions)}
        end = time.monotonic() + 30
        while missing := {n: len(log) for n, log in logs.items() if len(log) < ends[n]}:
            assert time.monotonic() < end, f"{topic}: cannot be read to {ends}"
            reader.seek(missing)
            for fetched in reader.read(5000, 0.2):
                logs[fetched.partition] += fetched.records()
        reader.close()
        return logs

    def topic_id(self, topic: str) -> str:
        info = TopicLookup(self.settings, topic, 10)
        info.ask()
        return info.answer()[0]

    def differences(self) -> list[str]:
        """One line per stream of outputs that is not what a plain fold of the stage's topic writes, repeats apart."""
        logs = {topic.name: self.read(topic.name, topic.partitions) for topic in hops.TOPICS}
        lines = []
        for engine, topics in ((hops.debit_engine(), (hops.LEGS, hops.LETTERS)), (hops.credit_engine(), (hops.PAID,))):
            lines += self._stage_differences(engine, logs, [topic.name for topic in topics])
        return lines

    def _stage_differences(self, engine: Engine, logs: Mapping[str, Logs], written: list[str]) -> list[str]:
        name, stage = engine.stage.topic.name, engine.stage.processor.stage
        wanted = hops.streams(hops.plain_fold(engine, self.topic_id(name), logs[name]))
        found = {}
        for topic in written:
            streams = hops.streams_on(topic, logs[topic])
            found.update({place: those for place, those in streams.items() if place[2] == stage})
        return [
            f"{place}: {len(found.get(place, ()))} of {len(wanted.get(place, ()))} outputs, "
            f"the same up to {_same(found.get(place, []), wanted.get(place, []))}"
            for place in sorted(wanted.keys() | found.keys())
            if wanted.get(place) != found.get(place)
        ]

    def wait(self, seconds: float = 60) -> list[str]:
        """The differences when there are none any more, or after so many seconds."""
        end = time.monotonic() + seconds
        while (lines := self.differences()) and time.monotonic() < end:
            time.sleep(0.5)
        return lines

    def repeats(self) -> int:
        """Records on the stages' topics that stood there before."""
        count = 0
        for topic in (hops.LEGS, hops.PAID, hops.LETTERS):
            for log in self.read(topic.name, topic.partitions).values():
                origins = [record.origin[:3] for record in log if record.origin is not None]
                count += len(origins) - len(set(origins))
        return count


def _same(found: list[hops.Line], wanted: list[hops.Line]) -> int:
    count = 0
    for one, other in zip(found, wanted, strict=False):
        if one != other:
            break
        count += 1
    return count
