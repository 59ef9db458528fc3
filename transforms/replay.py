"""Replay: fold a recorded log again and compare everything it regenerates with what was recorded, byte for byte.

A record's bytes here are those of its key, value and identity (origin with `prev`). Its offset and append time are the broker's, given
when it was appended, and are not regenerated.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import apache_beam as beam

from schemas.rails import Record, Source
from transforms.chunks import CHUNK_RECORDS, Chunk, by_partition, by_place, encode_record, records_in_order
from transforms.fold import Emitted
from transforms.fold_bounded import Engine, fold_chunks, shard_summary
from transforms.garbage import collect_rarely
from transforms.output_batches import OutputEncoder

_Block = tuple[str, tuple[int, bytes]]  # (name, (recorded or folded again, number of records and their bytes))


@dataclass(frozen=True)
class Replayed:
    """differences: a line of text per block of records, or upsert, that differs; compared: the number of records of each that agrees;
    summaries: one JSON summary (bytes) per shard, as `Fold` gives them."""

    differences: beam.PCollection
    compared: beam.PCollection
    summaries: beam.PCollection


class CompareReplay(beam.PTransform):
    """PCollection[Chunk] of recorded topics → Replayed.

    The chunks of the stage's own topic are folded again; what that regenerates for the topics named in `compared` is compared with the
    recorded records of the same writer, in the order of that writer. Repeats on the recorded topics are dropped as a reader would drop
    them, so the log of a live run with restarts compares equal. Upserts are compared by their newest version per key.
    """

    def __init__(
        self, make_engine: Callable[[], Engine], topic: str, compared: Sequence[str], upserts: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.make_engine, self.topic = make_engine, topic
        self.compared, self.upserts = frozenset(compared), frozenset(upserts)

    def expand(self, chunks: beam.PCollection) -> Any:  # a Replayed; Beam warns of hints that are no PCollections
        topic, wanted = self.topic, self.compared | self.upserts
        fold = beam.ParDo(_FoldAgain(self.make_engine, wanted)).with_output_types(_Block, summaries=bytes)
        compare = beam.ParDo(_CompareBlocks()).with_output_types(int, differences=str)
        again = (
            chunks
            | "Input" >> beam.Filter(lambda chunk: chunk.topic == topic)
            | "ByPartition" >> beam.Map(by_partition).with_output_types(tuple[int, Chunk])
            | "GroupInput" >> beam.GroupByKey()
            | "FoldAgain" >> fold.with_outputs("summaries", main="blocks")
        )
        recorded = (
            chunks
            | "Recorded" >> beam.Filter(lambda chunk: chunk.topic in wanted)
            | "ByTopic" >> beam.Map(by_place).with_output_types(tuple[tuple[str, int], Chunk])
            | "GroupRecorded" >> beam.GroupByKey()
            | "Split" >> beam.ParDo(_SplitRecorded(self.make_engine, self.upserts)).with_output_types(_Block)
        )
        compared = (
            (recorded, again.blocks)
            | "Together" >> beam.Flatten()
            | "GroupBlocks" >> beam.GroupByKey()
            | "Compare" >> compare.with_outputs("differences", main="compared")
        )
        return Replayed(compared.differences, compared.compared, again.summaries)


_new = tuple.__new__  # builds records without a call of their own constructor


def _named(
    topic: str, partition: int, writer: Source, blocks: Iterable[tuple[int, bytes]], side: int
) -> Iterator[tuple[str, tuple[int, bytes]]]:
    """`blocks` of CHUNK_RECORDS, the last of fewer, under names that both sides give them."""
    name = f"{topic}/{partition} written by {writer.stage} from {writer.topic}/{writer.partition}"
    for number, (count, block) in enumerate(blocks):
        first = number * CHUNK_RECORDS
        last = first + CHUNK_RECORDS - 1
        yield f"{name}, records {first} to {last}", (side, count.to_bytes(4, "little") + block)


_RECORDED, _AGAIN = 0, 1


class _FoldAgain(beam.DoFn):
    def __init__(self, make_engine: Callable[[], Engine], wanted: frozenset[str]) -> None:
        self.make_engine, self.wanted = make_engine, wanted

    def setup(self) -> None:
        self.engine = self.make_engine()

    def process(self, element: tuple[int, Iterable[Chunk]]) -> Iterator[Any]:
        with collect_rarely():
            yield from self._fold(*element)

    def _fold(self, partition: int, chunks: Iterable[Chunk]) -> Iterator[Any]:
        registry, wanted = self.engine.registry, self.wanted
        shard = self.engine.shard(partition)
        encoder = OutputEncoder(registry, shard)
        streams: dict[tuple[str, int], _Blocks] = {}
        upserts: dict[tuple[str, int, bytes], Emitted] = {}
        for _, emitted in fold_chunks(shard, chunks, registry):
            for one in emitted:
                topic, target, key, _, _, _, version = one
                if topic not in wanted:
                    continue
                if version is not None:
                    upsert = (topic, target, key or b"")
                    held = upserts.get(upsert)
                    if held is None or version > (held[-1] or 0):
                        upserts[upsert] = one
                    continue
                place = (topic, target)
                if place not in streams:
                    streams[place] = _Blocks(encoder)
                streams[place].add(one)
        for (topic, target), stream in sorted(streams.items()):
            yield from _named(topic, target, shard.source, stream.close(), _AGAIN)
        for (topic, target, key), (_, _, _, event, *_) in sorted(upserts.items(), key=itemgetter(0)):
            yield _upsert_block(topic, target, key, registry.encode(event), _AGAIN)
        yield beam.pvalue.TaggedOutput("summaries", shard_summary(shard))


class _Blocks:
    """What a shard writes to one partition, in blocks of bytes; records are numbered along the stream, and have no time."""

    __slots__ = ("_blocks", "_encoder", "_held", "_written")

    def __init__(self, encoder: OutputEncoder) -> None:
        self._encoder, self._written = encoder, 0
        self._held: list[Emitted] = []
        self._blocks: list[tuple[int, bytes]] = []

    def add(self, one: Emitted) -> None:
        self._held.append(one)
        if len(self._held) == CHUNK_RECORDS:
            self._encode()

    def close(self) -> list[tuple[int, bytes]]:
        """(number of records, their bytes), in order."""
        if self._held:
            self._encode()
        return self._blocks

    def _encode(self) -> None:
        count = len(self._held)
        self._blocks.append((count, self._encoder.encode(self._written, [0] * count, self._held)))
        self._written += count
        self._held = []


def _upsert_block(
    topic: str, partition: int, key: bytes, value: bytes | None, side: int
) -> tuple[str, tuple[int, bytes]]:
    return f"{topic}/{partition}, newest version of key {key.hex()}", (side, (1).to_bytes(4, "little") + (value or b""))


class _SplitRecorded(beam.DoFn):
    """The records of one recorded partition, by writer, without repeats; only those that the replayed stage wrote."""

    def __init__(self, make_engine: Callable[[], Engine], upserts: frozenset[str]) -> None:
        self.make_engine, self.upserts = make_engine, upserts

    def setup(self) -> None:
        stage = self.make_engine().stage
        self.written_by = (stage.processor.stage, stage.topic.topic_id)

    def process(self, element: tuple[tuple[str, int], Iterable[Chunk]]) -> Iterator[tuple[str, tuple[int, bytes]]]:
        (topic, partition), chunks = element
        with collect_rarely():
            yield from self._split(topic, partition, chunks)

    def _split(self, topic: str, partition: int, chunks: Iterable[Chunk]) -> Iterator[tuple[str, tuple[int, bytes]]]:
        if topic in self.upserts:
            newest = {record.key or b"": record.value for record in records_in_order(chunks)}
            for key, value in sorted(newest.items()):
                yield _upsert_block(topic, partition, key, value, _RECORDED)
            return
        streams: dict[Source, list[bytes]] = {}
        marks: dict[Source, tuple[int, int]] = {}
        for _, _, raw, recorded, origin, _ in records_in_order(chunks):
            if origin is None or origin[0][:2] != self.written_by:
                continue
            writer, offset, index, _ = origin
            if (offset, index) <= marks.get(writer, (-1, -1)):
                continue
            marks[writer] = (offset, index)
            stream = streams.setdefault(writer, [])
            stream.append(encode_record(_new(Record, (len(stream), 0, raw, recorded, origin, ()))))
        for writer, stream in sorted(streams.items()):
            parts = (stream[first : first + CHUNK_RECORDS] for first in range(0, len(stream), CHUNK_RECORDS))
            blocks = ((len(part), b"".join(part)) for part in parts)
            yield from _named(topic, partition, writer, blocks, _RECORDED)


class _CompareBlocks(beam.DoFn):
    """(name, both sides) → the number of records that agree; a difference is a line that says where."""

    def process(self, element: tuple[str, Iterable[tuple[int, bytes]]]) -> Iterator[Any]:
        name, found = element
        sides = dict(found)
        if len(sides) < 2:
            only = "recorded, but not regenerated" if _RECORDED in sides else "regenerated, but not recorded"
            yield beam.pvalue.TaggedOutput("differences", f"{name}: {only}")
        elif sides[_RECORDED] != sides[_AGAIN]:
            a, b = (int.from_bytes(sides[side][:4], "little") for side in (_RECORDED, _AGAIN))
            what = f"{a} recorded, {b} regenerated" if a != b else "the bytes differ"
            yield beam.pvalue.TaggedOutput("differences", f"{name}: {what}")
        else:
            yield int.from_bytes(sides[_AGAIN][:4], "little")
