"""Chunks: many records of one partition carried as one Beam element, as bytes.

The payload of a chunk is the Avro encoding of its records (schema `rails.Record`) one after another, which is what a
block of an Avro container holds too: reading a topic from disk wraps blocks, writing it writes them, and nothing is
decoded on the way.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from apache_beam import coders

from schemas import load_schema
from schemas.rails import RECORDS, Record
from transforms.avro import compile_codec, compile_reader
from transforms.avro_runtime import dec_long
from transforms.errors import BadRecord, InputError

CHUNK_RECORDS = 1000  # what a chunk holds when nothing else decides: large enough to hide Beam's cost per element


class DamagedChunk(InputError):
    """The payload of a chunk cannot be read: it is the file that is broken, not a client's message, so it makes no dead letter."""


class Chunk(NamedTuple):
    """Consecutive records of one partition.

    topic, partition: where they stand; offset: of the first record; clock: the largest append time (ms) of the
    partition before this chunk, -1 if there is none; count: number of records; payload: their Avro encoding.
    """

    topic: str
    partition: int
    offset: int
    clock: int
    count: int  # type: ignore[assignment] # hides tuple.count, which has no use here
    payload: bytes


def pack_chunk(topic: str, partition: int, records: Sequence[Record], clock: int = -1) -> Chunk:
    """A chunk of `records`, which follow one another in `partition`; ValueError if there is none."""
    if not records:
        raise ValueError(f"a chunk of {topic}/{partition} needs records, got none")
    return Chunk(topic, partition, records[0].offset, clock, len(records), b"".join(map(encode_record, records)))


def pack_chunks(topic: str, partition: int, records: Iterable[Record], size: int = CHUNK_RECORDS) -> Iterator[Chunk]:
    """All records of a partition, from its start, in chunks of `size`; clocks are filled in."""
    _check_size(size)
    clock, batch = -1, []
    for record in records:
        batch.append(record)
        if len(batch) == size:
            yield pack_chunk(topic, partition, batch, clock)
            clock = max(clock, max(r.at for r in batch))
            batch = []
    if batch:
        yield pack_chunk(topic, partition, batch, clock)


def unpack_chunk(chunk: Chunk) -> list[Record]:
    """The records of a chunk; DamagedChunk if its payload is not what its head says."""
    try:
        return decode_records(chunk.payload, chunk.count)
    except BadRecord as error:
        last = chunk.offset + chunk.count - 1
        raise DamagedChunk(
            f"{chunk.topic}/{chunk.partition}: damaged in offsets {chunk.offset} to {last} ({error.code})"
        ) from None


def records_in_order(chunks: Iterable[Chunk]) -> Iterator[Record]:
    """The records of one partition from its chunks, in whatever order those come."""
    for chunk in sorted(chunks, key=attrgetter("offset")):
        yield from unpack_chunk(chunk)


def first_offset(chunk: Chunk) -> int:
    """Offset of the first record as the payload has it; BadRecord if there is none. To be compared with
    `chunk.offset`.
    """
    try:
        return dec_long(chunk.payload, 0)[0]
    except IndexError:
        raise BadRecord("TRUNCATED", "chunk") from None


def by_partition(chunk: Chunk) -> tuple[int, Chunk]:
    """Key for steps that take each partition on its own."""
    return chunk.partition, chunk


def by_place(chunk: Chunk) -> tuple[tuple[str, int], Chunk]:
    """Key for steps that take each partition of each topic on its own."""
    return (chunk.topic, chunk.partition), chunk


def together(chunk: Chunk) -> tuple[int, Chunk]:
    """Key for steps that need all chunks in one place."""
    return 0, chunk


def regroup_chunks(chunks: Iterable[Chunk], size: int = CHUNK_RECORDS) -> Iterator[Chunk]:
    """The same records in chunks of exactly `size`, except the last: what follows does not depend on how they came.

    `chunks` are consecutive chunks of one partition. A chunk is decoded only where one of the new ones ends inside it.
    """
    _check_size(size)
    held: list[Chunk] = []
    count = 0
    for chunk in filter(_holds_records, chunks):
        for part in [chunk] if count + chunk.count <= size else _split_chunk(chunk, size - count, size):
            held.append(part)
            count += part.count
            if count == size:
                yield _join_chunks(held)
                held, count = [], 0
    if held:
        yield _join_chunks(held)


def _check_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"chunks hold at least 1 record, got size {size}")


def _holds_records(chunk: Chunk) -> bool:
    return chunk.count > 0


def _join_chunks(chunks: Sequence[Chunk]) -> Chunk:
    if len(chunks) == 1:
        return chunks[0]
    return chunks[0]._replace(count=sum(c.count for c in chunks), payload=b"".join(c.payload for c in chunks))


def _split_chunk(chunk: Chunk, first: int, size: int) -> Iterator[Chunk]:
    """The first `first` records, then `size` at a time."""
    records, clock, start = unpack_chunk(chunk), chunk.clock, 0
    for end in [*range(first, chunk.count, size), chunk.count]:
        part = records[start:end]
        yield pack_chunk(chunk.topic, chunk.partition, part, clock)
        clock = max(clock, *(record.at for record in part))
        start = end


# --- the records of a payload ---

_SCHEMA = load_schema("rails.Record")
# Payloads are our own: the bounds on what clients send do not apply.
_UNBOUND = 1 << 62

encode_record: Callable[[Record], bytes] = compile_codec(_SCHEMA, RECORDS, _UNBOUND, _UNBOUND).encode
"""Avro encoding of rails.Record, byte for byte what fastavro writes."""

ORIGINS = compile_codec(load_schema("rails.Origin"), RECORDS, _UNBOUND, _UNBOUND)
"""Codec of the origins of records, for those who read records in a way of their own."""

_read_records = compile_reader(_SCHEMA, RECORDS, _UNBOUND)


def decode_records(data: bytes, count: int) -> list[Record]:
    """`count` records that stand one after another in `data` and fill it; else BadRecord."""
    try:
        return _read_records(data, count)
    except BadRecord as error:
        raise BadRecord(error.code, "chunk") from None


# --- the Beam coder ---

_HEAD = struct.Struct("<Hiqqi")


class ChunkCoder(coders.Coder):
    """Compact and deterministic; the payload goes through as it is."""

    def encode(self, value: Chunk) -> bytes:
        topic = value.topic.encode()
        return _HEAD.pack(len(topic), value.partition, value.offset, value.clock, value.count) + topic + value.payload

    def decode(self, encoded: bytes) -> Chunk:
        size, partition, offset, clock, count = _HEAD.unpack_from(encoded)
        start = _HEAD.size + size
        return Chunk(encoded[_HEAD.size : start].decode(), partition, offset, clock, count, encoded[start:])

    def is_deterministic(self) -> bool:
        return True


coders.registry.register_coder(Chunk, ChunkCoder)
