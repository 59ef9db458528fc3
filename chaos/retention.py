"""Retention that overtakes a stopped reader, on a topic of its own: what the payments left behind must stay whole for the checkers."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from chaos.hostile import payments
from payments.admission import Admission
from pipelines.live_writer import LiveWriter
from pipelines.registry import REGISTRY
from transforms.fold import Gap, Topic
from transforms.fold_bounded import Engine
from transforms.kafka_settings import KafkaSettings
from transforms.kafka_topics import KafkaTopics
from transforms.lane_types import Claim, LaneKnobs
from transforms.lanes import Connections, Lane
from transforms.log_reader import LogReader, TopicLookup
from transforms.loop import Stage
from transforms.snapshots import SnapshotStore
from transforms.topic_settings import DAY_MS, TopicSettings

WORDS = "retention has overtaken this reader"
_COUNT = 60  # records, before the reader stops and after


class _Nowhere:
    """A writer whose outputs nobody wants: they are another stage's on the real topics."""

    due_s = math.inf

    def write(self, outputs: Sequence[Any]) -> None: ...

    def release(self) -> None: ...

    def poll(self, timeout: float = 0) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


def overtake(settings: KafkaSettings, folder: Path) -> str:
    """Folds some records, stops, loses the next ones, goes on: what the lane says then."""
    topic = Topic(f"chaos.retention.{time.time_ns()}", 4)
    kafka, writer = KafkaTopics(settings), LiveWriter(settings)
    client: Any = AdminClient(settings.resolved())
    try:
        kafka.create([TopicSettings(topic.name, topic.partitions, DAY_MS, replicas=1, in_sync=1)])
        batches = [payments(f"{topic.name}-{n}", _COUNT, "a", "b") for n in range(2)]
        claim = Claim("", ())
        for number, batch in enumerate(batches):
            writer.write([(topic.name, topic.partition_of(key), key, value) for _, _, key, value in batch])
            writer.flush()
            if number == 0:
                claim = _folded(settings, topic, folder, claim)
        ends = [high for _, high in kafka.watermarks(topic.name)]
        gone = [TopicPartition(topic.name, n, end) for n, end in enumerate(ends)]
        for future in client.delete_records(gone).values():
            future.result(30)
        try:
            _folded(settings, topic, folder, claim)
        except Gap as gap:
            return str(gap).replace(topic.name, "TOPIC")
        return "it went on"
    finally:
        writer.close()
        kafka.delete([topic.name])
        kafka.close()


def _folded(settings: KafkaSettings, topic: Topic, folder: Path, claim: Claim) -> Claim:
    """A lane as a new process has it, for as long as it takes to fold what is there; a snapshot of every shard that has moved."""
    found, engine = settings.resolved(), Engine(Stage(Admission(DAY_MS), topic), REGISTRY)
    connections = Connections(
        reader=lambda: LogReader(found, topic.name, topic.name, from_clients=True),
        writer=lambda: _Nowhere(),  # type: ignore[arg-type,return-value]
        topic=lambda: TopicLookup(found, topic.name, 10),
    )
    knobs = LaneKnobs(stay_ms=200, snapshot_s=0.001, snapshot_share=1)
    store = SnapshotStore(str(folder / topic.name))
    lane = Lane(engine, 0, range(topic.partitions), connections, store, knobs)
    try:
        for _ in range(50):
            claim, summary = lane.turn(claim)
            if summary.lag == 0 and sum(summary.offsets) >= _COUNT:
                break
        return claim
    finally:
        lane.drop()
