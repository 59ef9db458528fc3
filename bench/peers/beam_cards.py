"""The card example in idiomatic Beam, live: one element per record, a value state per key, on the cluster that ours runs on.

Beam's own ReadFromKafka is a Java transform: its expansion service and the image of its Java worker are not on this stack, so the topic is
read as Beam's programming guide has it, by a splittable DoFn over offsets (here one restriction per partition), and written by a DoFn that
flushes at the end of each bundle. Offsets and state belong to Flink's checkpoints; what was written since the last one is written again
after a crash (at-least-once).

    python -m bench.peers.beam_cards SETTINGS.json --runner=PortableRunner ...
"""

import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.sdf_utils import RestrictionTrackerView
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.timestamp import Duration
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from bench.card import EVENTS, SCHEMAS, AddUp, CardBalance, Deposit

END = 1 << 62
TURN_S = 0.5  # Beam's runner waits with a checkpoint until a call returns
POLL_S = 0.1


class FromTheStart(RestrictionProvider):
    """All offsets of a partition, from 0."""

    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, END)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return 1  # what is left is not known


@beam.DoFn.unbounded_per_element()
class ReadPartition(beam.DoFn):
    """A partition's number → the values of its records, without end."""

    def __init__(self, topic: str, settings: dict[str, Any]) -> None:
        self._topic, self._settings = topic, settings

    def setup(self) -> None:
        self._consumers: dict[int, tuple[Consumer, int]] = {}

    def teardown(self) -> None:
        for consumer, _ in self._consumers.values():
            consumer.close()

    def process(
        self,
        partition: int,
        tracker: RestrictionTrackerView = beam.DoFn.RestrictionParam(FromTheStart()),
    ) -> Iterator[bytes]:
        position = tracker.current_restriction().start
        consumer = self._consumer(partition, position)
        until = time.monotonic() + TURN_S
        while time.monotonic() < until:
            messages = consumer.consume(1000, POLL_S)
            for message in messages:
                if error := message.error():
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    continue
                if not tracker.try_claim(message.offset()):
                    return
                position = message.offset() + 1
                yield message.value()
            if not messages:
                break
        self._consumers[partition] = consumer, position
        tracker.defer_remainder(Duration(seconds=0))

    def _consumer(self, partition: int, position: int) -> Consumer:
        """The partition's consumer, kept from one call to the next; a new one where there is none that stands at `position`."""
        consumer, stands_at = self._consumers.pop(partition, (None, 0))
        if consumer is not None and stands_at == position:
            return consumer
        if consumer is not None:
            consumer.close()
        consumer = Consumer({**self._settings, "group.id": "beam", "enable.auto.commit": False})
        consumer.assign([TopicPartition(self._topic, partition, position)])
        return consumer


class DecodeDeposit(beam.DoFn):
    """A framed value → (card, amount)."""

    def setup(self) -> None:
        self._schema = fastavro.parse_schema(SCHEMAS[Deposit])

    def process(self, value: bytes) -> Iterator[tuple[str, int]]:
        deposit = fastavro.schemaless_reader(io.BytesIO(value[5:]), self._schema, None)
        yield deposit["card"], deposit["amount"]


class EncodeBalance(beam.DoFn):
    """(card, balance) → (key, framed value)."""

    def setup(self) -> None:
        self._schema = fastavro.parse_schema(SCHEMAS[CardBalance])
        self._frame = EVENTS.frame(CardBalance)

    def process(self, element: tuple[str, int]) -> Iterator[tuple[bytes, bytes]]:
        value = io.BytesIO()
        fastavro.schemaless_writer(value, self._schema, {"card": element[0], "balance": element[1]})
        yield element[0].encode(), self._frame + value.getvalue()


class WriteRecords(beam.DoFn):
    """Writes (key, value); a bundle ends when the broker has all of it."""

    def __init__(self, topic: str, settings: dict[str, Any]) -> None:
        self._topic, self._settings = topic, settings

    def setup(self) -> None:
        self._producer = Producer(self._settings)
        self._failed: list[KafkaError] = []

    def process(self, element: tuple[bytes, bytes]) -> None:
        key, value = element
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)

    def finish_bundle(self) -> None:
        if self._producer.flush(60) or self._failed:
            raise RuntimeError(f"not all was written to {self._topic}: {self._failed[:1]}")

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        if error is not None:
            self._failed.append(error)


def build(pipeline: beam.Pipeline, settings: dict[str, Any]) -> None:
    """The job over the topics that the settings name."""
    servers = {"bootstrap.servers": settings["bootstrap"]}
    source, target = settings["source"], settings["target"]
    _ = (
        pipeline
        | beam.Create(range(settings["partitions"])).with_output_types(int)
        | beam.ParDo(ReadPartition(source, servers | settings["consumer"])).with_output_types(bytes)
        | beam.ParDo(DecodeDeposit()).with_output_types(tuple[str, int])
        | beam.ParDo(AddUp()).with_output_types(tuple[str, int])
        | beam.ParDo(EncodeBalance()).with_output_types(tuple[bytes, bytes])
        | beam.ParDo(WriteRecords(target, servers | settings["producer"])).with_output_types(bytes)
    )


def main(argv: list[str]) -> None:
    settings = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming", *argv[1:]]))
    build(pipeline, settings)
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    from bench.peers import beam_cards  # under its own name: workers import what the job's steps are made of

    beam_cards.main(sys.argv[1:])
