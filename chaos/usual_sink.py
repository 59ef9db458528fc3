"""A control: Beam's usual pattern, a DoFn that produces to Kafka and flushes at the end of the bundle. It doubles when it is killed.

payments.incoming → a record on chaos.usual for each, with the place it came from as its value. Nothing is wrong with the code: the runner
repeats what was not checkpointed, and without an identity in the records nobody can tell.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from confluent_kafka import Producer

from payments import topics
from pipelines.common import main
from pipelines.engine import run_job
from pipelines.live_options import LiveOptions, broker_settings, parse_live
from transforms.chunks import Chunk, unpack_chunk
from transforms.kafka_settings import KafkaSettings
from transforms.log_chunks import Committed, ReadLog
from transforms.topic_settings import DAY_MS, TopicSettings

USUAL = TopicSettings("chaos.usual", 1, DAY_MS, replicas=1, in_sync=1)
GROUP = "chaos.usual"


class UsualSinkOptions(LiveOptions):
    """The control job; it takes the flags of the payments job."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_live(parser)


class ProduceRecords(beam.DoFn):
    """Chunk → nothing; each record is produced."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Any = None

    def setup(self) -> None:
        self._producer = Producer({**self._settings.resolved(), "enable.idempotence": True, "acks": "all"})

    def process(self, chunk: Chunk) -> Iterator[bytes]:
        for record in unpack_chunk(chunk):
            self._producer.produce(USUAL.name, b"%d/%d" % (chunk.partition, record.offset))
        self._producer.poll(0)
        return iter(())

    def finish_bundle(self) -> None:
        self._producer.flush()


def build_pipeline(p: beam.Pipeline, settings: KafkaSettings) -> None:
    """payments.incoming, from where the group is, to chaos.usual."""
    topic = topics.INCOMING
    chunks = p | "Read" >> ReadLog(
        settings, topic.name, topic.partitions, start=Committed(GROUP), groups=1, from_clients=True
    )
    _ = chunks | "Produce" >> beam.ParDo(ProduceRecords(settings)).with_output_types(bytes)


def run(argv: list[str]) -> int:
    options, _ = parse_live(argv, UsualSinkOptions)
    settings = broker_settings(options)
    run_job(options, lambda p: build_pipeline(p, settings))
    return 0


if __name__ == "__main__":
    from chaos import usual_sink  # classes of __main__ would be sent as bytes, and of the client's as well

    main(usual_sink.run)
