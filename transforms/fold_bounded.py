"""`Fold`: the bounded driver. Chunks of a recorded topic are grouped by partition and each shard folds on its own, in parallel."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import apache_beam as beam

from schemas.rails import Origin, Record
from transforms.chunks import CHUNK_RECORDS, Chunk, pack_chunk, unpack_chunk
from transforms.fold import Output, Shard
from transforms.loop import Stage
from transforms.registry import Registry


@dataclass(frozen=True)
class Engine:
    """A stage and the registry that reads and writes its events: what a driver needs on a worker."""

    stage: Stage
    registry: Registry

    def shard(self, partition: int) -> Shard:
        """The shard of that partition, before the first record."""
        topic = self.stage.topic
        return Shard(
            self.stage.processor,
            topic.topic_id,
            partition,
            topic.partitions,
            self.registry.decode,
            self.stage.dead_letters,
        )


def records_in_order(chunks: Iterable[Chunk]) -> Iterator[Record]:
    """The records of one partition from its chunks, in whatever order those come."""
    for chunk in sorted(chunks, key=attrgetter("offset")):
        yield from unpack_chunk(chunk)


@dataclass(frozen=True)
class Folded:
    """What `Fold` gives: outputs as chunks, and one JSON summary (bytes) per shard: stage, topic, partition, offset, clock, counts."""

    outputs: beam.PCollection
    summaries: beam.PCollection


class Fold(beam.PTransform):
    """PCollection[Chunk] of one topic, all partitions from offset 0 → Folded.

    `make_engine` builds the stage on the worker. Each output chunk holds what one shard wrote to one target partition, in order; its
    offsets number that stream from 0, and `at` is the append time of the record that caused the output. `AppendOutputs` makes a topic
    of them. A gap in the input stops the job (contract line 8).
    """

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        super().__init__()
        self.make_engine = make_engine

    def expand(self, chunks: beam.PCollection) -> Folded:
        folded = (
            chunks
            | "ByPartition" >> beam.Map(by_partition).with_output_types(tuple[int, Chunk])
            | "Group" >> beam.GroupByKey()
            | "Fold" >> beam.ParDo(_FoldShard(self.make_engine)).with_outputs("summaries", main="outputs")
        )
        return Folded(
            folded.outputs | "Outputs" >> beam.Map(_same).with_output_types(Chunk),
            folded.summaries | "Summaries" >> beam.Map(_same).with_output_types(bytes),
        )


def by_partition(chunk: Chunk) -> tuple[int, Chunk]:
    return chunk.partition, chunk


def _same(element: Any) -> Any:
    return element


class _FoldShard(beam.DoFn):
    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        self.make_engine = make_engine

    def setup(self) -> None:
        self.engine = self.make_engine()

    def process(self, element: tuple[int, Iterable[Chunk]]) -> Iterator[Any]:
        partition, chunks = element
        shard = self.engine.shard(partition)
        streams: dict[tuple[str, int], list[Record]] = {}
        for record in records_in_order(chunks):
            for output in shard.step(record):
                stream = streams.setdefault((output.topic, output.partition), [])
                stream.append(self._record(len(stream), record.at, output))
        for (topic, target), records in sorted(streams.items()):
            for first in range(0, len(records), CHUNK_RECORDS):
                yield pack_chunk(topic, target, records[first : first + CHUNK_RECORDS])
        yield beam.pvalue.TaggedOutput("summaries", shard_summary(shard))

    def _record(self, offset: int, at: int, output: Output) -> Record:
        return Record(offset, at, output.key, self.engine.registry.encode(output.event), output.origin, ())


def shard_summary(shard: Shard) -> bytes:
    """One JSON line: where the shard stands and where its records went."""
    stage, topic, partition = shard.source
    facts = {"stage": stage, "topic": topic, "partition": partition, "offset": shard.offset, "clock": shard.clock}
    return json.dumps({**facts, "entities": len(shard.entities), **shard.counts.as_dict()}).encode()


class AppendOutputs(beam.PTransform):
    """PCollection[Chunk] of streams as `Fold` gives them → PCollection[Chunk] of topics with offsets of their own.

    The streams of a target partition are merged by (append time of the cause, source, offset, index), so the topic is the same for any
    bundling. Upserts, which have no origin, are ordered by (time, key).
    """

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return (
            chunks
            | "ByTarget" >> beam.Map(_by_target).with_output_types(tuple[tuple[str, int], Chunk])
            | "Group" >> beam.GroupByKey()
            | "Append" >> beam.FlatMap(_append).with_output_types(Chunk)
        )


def _by_target(chunk: Chunk) -> tuple[tuple[str, int], Chunk]:
    return (chunk.topic, chunk.partition), chunk


def _append(element: tuple[tuple[str, int], Iterable[Chunk]]) -> Iterator[Chunk]:
    (topic, partition), chunks = element
    records = [record for chunk in chunks for record in unpack_chunk(chunk)]
    records.sort(key=_place)
    clock = -1
    for first in range(0, len(records), CHUNK_RECORDS):
        batch = [record._replace(offset=first + i) for i, record in enumerate(records[first : first + CHUNK_RECORDS])]
        yield pack_chunk(topic, partition, batch, clock)
        clock = batch[-1].at


def _place(record: Record) -> tuple[int, Origin | tuple[()], int, int, bytes]:
    origin = record.origin
    if origin is None:
        return record.at, (), 0, 0, record.key or b""
    return record.at, origin.source, origin.offset, origin.index, b""  # type: ignore[return-value]
