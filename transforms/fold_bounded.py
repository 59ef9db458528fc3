"""`Fold`: the bounded driver. Chunks of a recorded topic are grouped by partition and each shard folds on its own, in parallel."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import apache_beam as beam

from schemas.rails import Record
from transforms.chunks import CHUNK_RECORDS, Chunk, by_partition, by_place, records_in_order, unpack_chunk
from transforms.event_runs import RunReader
from transforms.fold import Emitted, Gap, Newest, Shard, split_by_place
from transforms.garbage import collect_rarely
from transforms.log_merge import merge_streams
from transforms.loop import Stage
from transforms.output_batches import OutputEncoder
from transforms.registry import Registry
from transforms.snapshots import SnapshotStore, encode_shard


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


@dataclass(frozen=True)
class Folded:
    """What `Fold` gives: outputs as chunks; one JSON summary (bytes) per shard: stage, topic, partition, offset, clock, counts; one
    (place, snapshot) per shard for `WriteSnapshots`, none unless Fold was given a store."""

    outputs: beam.PCollection
    summaries: beam.PCollection
    snapshots: beam.PCollection


Snapshotted = tuple[str, str, int, int, bytes]  # (stage, topic id, partition, offset, snapshot)


class Fold(beam.PTransform):
    """PCollection[Chunk] of one topic → Folded: each partition from offset 0, or from its newest snapshot in `start_from`.

    `make_engine` builds the stage on the worker. Each output chunk holds what one shard wrote to one target partition, in order; its
    offsets number that stream from 0, and `at` is the append time of the record that caused the output. `AppendOutputs` makes a topic
    of them. Of upserts there is the newest version of each key alone, after the log outputs. A gap in the input stops the job (contract
    line 8).

    With a snapshot, records before it are passed over and give no outputs, and the input must hold at least the one just before it, which
    proves that it is the same log. Write the new snapshots with `WriteSnapshots`, after the outputs.
    """

    def __init__(self, make_engine: Callable[[], Engine], start_from: SnapshotStore | None = None) -> None:
        super().__init__()
        self.make_engine, self.start_from = make_engine, start_from

    def expand(self, chunks: beam.PCollection) -> Any:  # a Folded; Beam warns of hints that are no PCollections
        fold = beam.ParDo(_FoldShard(self.make_engine, self.start_from))
        folded = (
            chunks
            | "ByPartition" >> beam.Map(by_partition).with_output_types(tuple[int, Chunk])
            | "Group" >> beam.GroupByKey()
            | "Fold"
            >> fold.with_output_types(Chunk, summaries=bytes, snapshots=Snapshotted).with_outputs(
                "summaries", "snapshots", main="outputs"
            )
        )
        return Folded(folded.outputs, folded.summaries, folded.snapshots)


class _FoldShard(beam.DoFn):
    def __init__(self, make_engine: Callable[[], Engine], start_from: SnapshotStore | None) -> None:
        self.make_engine, self.start_from = make_engine, start_from

    def setup(self) -> None:
        self.engine = self.make_engine()

    def process(self, element: tuple[int, Iterable[Chunk]]) -> Iterator[Any]:
        with collect_rarely():
            yield from self._fold(*element)

    def _fold(self, partition: int, chunks: Iterable[Chunk]) -> Iterator[Any]:
        shard = self.engine.shard(partition)
        encoder = OutputEncoder(self.engine.registry, shard)
        streams: dict[tuple[str, int], _Stream] = {}
        if self.start_from is not None:
            self.start_from.restore(shard)
        newest: Newest = {}
        for times, emitted in fold_chunks(shard, chunks, self.engine.registry):
            for place, (caused, written) in split_by_place(times, emitted, newest).items():
                if place not in streams:
                    streams[place] = _Stream(*place, encoder)
                yield from streams[place].add(caused, written)
        for at, one in sorted(newest.values(), key=lambda upsert: (upsert[0], upsert[1][2] or b"")):
            place = one[:2]
            if place not in streams:
                streams[place] = _Stream(*place, encoder)
            yield from streams[place].add([at], [one])
        for _, stream in sorted(streams.items()):
            if stream.emitted:
                yield stream.close_chunk()
        yield beam.pvalue.TaggedOutput("summaries", shard_summary(shard))
        if self.start_from is not None:
            yield beam.pvalue.TaggedOutput("snapshots", (*shard.source, shard.offset, encode_shard(shard)))


class _Stream:
    """What a shard writes to one target partition: the outputs of the chunk that is not full yet, and when they were caused."""

    __slots__ = ("clock", "emitted", "encoder", "offset", "partition", "times", "topic")

    def __init__(self, topic: str, partition: int, encoder: OutputEncoder) -> None:
        self.topic, self.partition, self.encoder = topic, partition, encoder
        self.offset, self.clock = 0, -1
        self.times: list[int] = []
        self.emitted: list[Emitted] = []

    def add(self, times: list[int], emitted: list[Emitted]) -> Iterator[Chunk]:
        """Takes outputs and gives the chunks that are full."""
        self.times += times
        self.emitted += emitted
        while len(self.emitted) >= CHUNK_RECORDS:
            yield self.close_chunk()

    def close_chunk(self) -> Chunk:
        times, emitted = self.times[:CHUNK_RECORDS], self.emitted[:CHUNK_RECORDS]
        payload = self.encoder.encode(self.offset, times, emitted)
        chunk = Chunk(self.topic, self.partition, self.offset, self.clock, len(emitted), payload)
        self.offset, self.clock = self.offset + len(emitted), max(self.clock, *times)
        del self.times[:CHUNK_RECORDS], self.emitted[:CHUNK_RECORDS]
        return chunk


def fold_chunks(shard: Shard, chunks: Iterable[Chunk], registry: Registry) -> Iterator[tuple[list[int], list[Emitted]]]:
    """Folds the chunks of a partition, in whatever order they come, into `shard`, from where it stands: the outputs of some thousand
    records at a time, with the append time of the record that caused each.

    The input of a shard that is not at its start must hold the record that it folded last (else Gap).
    """
    ordered = sorted(chunks, key=attrgetter("offset"))
    if start := shard.offset:
        old = [chunk for chunk in ordered if chunk.offset < start]
        ordered = ordered[len(old) :]
        yield _fold_singly(shard, skip_folded(shard, records_in_order(old)))
    reader = RunReader(registry, shard.processor.reads)
    for chunk in ordered:
        run = reader.read(chunk)
        yield shard.fold_run(run) if run is not None else _fold_singly(shard, unpack_chunk(chunk))


def _fold_singly(shard: Shard, records: Iterable[Record]) -> tuple[list[int], list[Emitted]]:
    times: list[int] = []
    emitted: list[Emitted] = []
    for record in records:
        shard.emit_step(record, emitted)
        times += [record.at] * (len(emitted) - len(times))
    return times, emitted


def skip_folded(shard: Shard, records: Iterable[Record]) -> Iterator[Record]:
    """The records that a restored shard has still to fold; Gap unless the one before them is the one that it folded last (8)."""
    rest = iter(records)
    if shard.offset == 0:
        return rest
    for record in rest:
        if record.offset >= shard.offset - 1:
            shard.check_before(record)
            return rest
    raise Gap(
        f"{'/'.join(map(str, shard.source))}: the input ends before offset {shard.offset}, where the snapshot stands"
    )


def shard_summary(shard: Shard) -> bytes:
    """One JSON line: where the shard stands and where its records went."""
    stage, topic, partition = shard.source
    facts = {"stage": stage, "topic": topic, "partition": partition, "offset": shard.offset, "clock": shard.clock}
    return json.dumps({**facts, "entities": len(shard.entities), **shard.counts.as_dict()}).encode()


class WriteSnapshots(beam.PTransform):
    """PCollection of `Folded.snapshots` → PCollection[str], the paths: writes them into `store`, and prunes it.

    `after` is a PCollection that is complete only when the outputs are safely written, such as what their sink gives: a snapshot that
    stood there before its outputs would lose them when the job is tried again (contract line 9).
    """

    def __init__(self, store: SnapshotStore, after: beam.PCollection) -> None:
        super().__init__()
        self.store, self.after = store, after

    def expand(self, snapshots: beam.PCollection) -> beam.PCollection:
        # A side input is complete before it is given: an empty one only makes the snapshots wait.
        written = self.after | "Written" >> beam.FlatMap(_nothing).with_output_types(int)
        return snapshots | "Write" >> beam.Map(_put, self.store, beam.pvalue.AsIter(written)).with_output_types(str)


def _nothing(element: Any) -> Iterable[int]:
    return ()


def _put(snapshot: Snapshotted, store: SnapshotStore, _written: Iterable[int]) -> str:
    return store.put(*snapshot)


class AppendOutputs(beam.PTransform):
    """PCollection[Chunk] of streams as `Fold` gives them → PCollection[Chunk] of topics with offsets of their own.

    The streams of a target partition are merged by (append time of the cause, source, offset, index), so the topic is the same for any
    bundling. Upserts, which have no origin, are ordered by (time, key, place in their stream).
    """

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return (
            chunks
            | "ByTarget" >> beam.Map(by_place).with_output_types(tuple[tuple[str, int], Chunk])
            | "Group" >> beam.GroupByKey()
            | "Append" >> beam.FlatMap(_append).with_output_types(Chunk)
        )


def _append(element: tuple[tuple[str, int], Iterable[Chunk]]) -> Iterator[Chunk]:
    (topic, partition), chunks = element
    with collect_rarely():
        yield from merge_streams(topic, partition, chunks, CHUNK_RECORDS)
