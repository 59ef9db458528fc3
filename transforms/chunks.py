"""Chunks: many records of one partition carried as one Beam element, as bytes.

The payload of a chunk is the Avro encoding of its records (schema `rails.Record`) one after another, which is what a
block of an Avro container holds too: reading a topic from disk wraps blocks, writing it writes them, and nothing is
decoded on the way.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from apache_beam import coders

from schemas.rails import Header, Origin, Position, Record, Source
from transforms.errors import BadRecord

CHUNK_RECORDS = 1000  # what a chunk holds when nothing else decides: large enough to hide Beam's cost per element


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
    """A chunk of `records`, which follow one another in `partition`; there must be at least one."""
    return Chunk(topic, partition, records[0].offset, clock, len(records), b"".join(map(encode_record, records)))


def pack_chunks(topic: str, partition: int, records: Iterable[Record], size: int = CHUNK_RECORDS) -> Iterator[Chunk]:
    """All records of a partition, from its start, in chunks of `size`; clocks are filled in."""
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
    """The records of a chunk. A damaged payload raises BadRecord: it is the file that is broken, not a client's
    message.
    """
    return decode_records(chunk.payload, chunk.count)


def first_offset(chunk: Chunk) -> int:
    """Offset of the first record as the payload has it; BadRecord if there is none. To be compared with
    `chunk.offset`.
    """
    try:
        return _decode_long(chunk.payload, 0)[0]
    except IndexError:
        raise BadRecord("TRUNCATED", "chunk") from None


def regroup_chunks(chunks: Iterable[Chunk], size: int = CHUNK_RECORDS) -> Iterator[Chunk]:
    """The same records in chunks of exactly `size`, except the last: what follows does not depend on how they came.

    `chunks` are consecutive chunks of one partition. A chunk is decoded only where one of the new ones ends inside it.
    """
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


# --- the record codec: what a compiler would make of rails.Record, with the parts that repeat cached ---


def _long(n: int) -> bytes:
    """Zigzag variable-length encoding of a 64-bit integer."""
    n = n << 1 if n >= 0 else (-n << 1) - 1
    if n < 0x80:
        return _BYTES[n]
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


_BYTES = [bytes((n,)) for n in range(256)]
_LONGS = [_long(n) for n in range(1 << 14)]
_LIMIT = len(_LONGS)
_SOURCES: dict[Source, bytes] = {}
_RAW_SOURCES: dict[bytes, Source] = {}


def _encode_long(n: int) -> bytes:
    return _LONGS[n] if 0 <= n < _LIMIT else _long(n)


def _encode_source(source: Source) -> bytes:
    stage, topic = source.stage.encode(), source.topic.encode()
    raw = _long(len(stage)) + stage + _long(len(topic)) + topic + _long(source.partition)
    _SOURCES[source] = raw
    return raw


def encode_origin(origin: Origin) -> bytes:
    """Avro encoding of rails.Origin."""
    source, offset, index, prev = origin
    raw = _SOURCES.get(source) or _encode_source(source)
    if prev is None:
        return raw + _encode_long(offset) + _encode_long(index) + b"\x00"
    return raw + _encode_long(offset) + _encode_long(index) + b"\x02" + _encode_long(prev[0]) + _encode_long(prev[1])


def encode_record(record: Record) -> bytes:
    """Avro encoding of rails.Record, byte for byte what fastavro writes."""
    offset, at, key, value, origin, headers = record
    return (
        _encode_long(offset)
        + _long(at)
        + (b"\x00" if key is None else b"\x02" + _encode_long(len(key)) + key)
        + (b"\x00" if value is None else b"\x02" + _encode_long(len(value)) + value)
        + (b"\x00" if origin is None else b"\x02" + encode_origin(origin))
        + (_encode_headers(headers) if headers else b"\x00")
    )


def _encode_headers(headers: Sequence[Header]) -> bytes:
    out = [_long(len(headers))]
    for key, value in headers:
        raw = key.encode()
        out += (_long(len(raw)), raw, _long(len(value)), value)
    out.append(b"\x00")
    return b"".join(out)


def _decode_long(data: bytes, i: int) -> tuple[int, int]:
    """The integer at `i` and the index behind it."""
    b = data[i]
    if b < 0x80:
        return (b >> 1) ^ -(b & 1), i + 1
    n, shift = b & 0x7F, 7
    while True:
        i += 1
        b = data[i]
        n |= (b & 0x7F) << shift
        if b < 0x80:
            return (n >> 1) ^ -(n & 1), i + 1
        shift += 7
        if shift > 63:
            raise BadRecord("BAD_VARINT", "chunk")


def _decode_bytes(data: bytes, i: int) -> tuple[bytes, int]:
    n, i = _decode_long(data, i)
    if n < 0:
        raise BadRecord("BAD_LENGTH", "chunk")
    return data[i : i + n], i + n


def _decode_union(data: bytes, i: int) -> tuple[bytes | None, int]:
    tag = data[i]
    if tag == 2:
        return _decode_bytes(data, i + 1)
    if tag:
        raise BadRecord("BAD_INDEX", "chunk")
    return None, i + 1


def _decode_source(data: bytes, i: int) -> tuple[Source, int]:
    stage_end = i + 1 + (data[i] >> 1)
    end = stage_end + 1 + (data[stage_end] >> 1)
    if not data[end] & 0x80:
        source = _RAW_SOURCES.get(data[i : end + 1])
        if source is not None:
            return source, end + 1
    start = i
    stage, i = _decode_bytes(data, i)
    topic, i = _decode_bytes(data, i)
    partition, i = _decode_long(data, i)
    source = Source(stage.decode(), topic.decode(), partition)
    if partition < 64 and len(_RAW_SOURCES) < 4096:
        _RAW_SOURCES[data[start:i]] = source
    return source, i


def _decode_origin(data: bytes, i: int) -> tuple[Origin, int]:
    source, i = _decode_source(data, i)
    offset, i = _decode_long(data, i)
    index, i = _decode_long(data, i)
    tag = data[i]
    if tag == 0:
        return Origin(source, offset, index, None), i + 1
    if tag != 2:
        raise BadRecord("BAD_INDEX", "chunk")
    prev_offset, i = _decode_long(data, i + 1)
    prev_index, i = _decode_long(data, i)
    return Origin(source, offset, index, Position(prev_offset, prev_index)), i


def _decode_headers(data: bytes, i: int) -> tuple[tuple[Header, ...], int]:
    headers: list[Header] = []
    while True:
        n, i = _decode_long(data, i)
        if n == 0:
            return tuple(headers), i
        if not 0 < n <= len(data):
            raise BadRecord("BAD_LENGTH", "chunk headers")
        for _ in range(n):
            key, i = _decode_bytes(data, i)
            value, i = _decode_bytes(data, i)
            headers.append(Header(key.decode(), value))


def decode_records(data: bytes, count: int) -> list[Record]:
    """`count` records that stand one after another in `data` and fill it; else BadRecord."""
    records: list[Record] = []
    i = 0
    try:
        for _ in range(count):
            offset, i = _decode_long(data, i)
            at, i = _decode_long(data, i)
            key, i = _decode_union(data, i)
            value, i = _decode_union(data, i)
            tag = data[i]
            if tag == 0:
                origin, i = None, i + 1
            elif tag == 2:
                origin, i = _decode_origin(data, i + 1)
            else:
                raise BadRecord("BAD_INDEX", "chunk")
            if data[i]:
                headers, i = _decode_headers(data, i)
            else:
                headers, i = (), i + 1
            records.append(Record(offset, at, key, value, origin, headers))
    except IndexError:
        raise BadRecord("TRUNCATED", "chunk") from None
    except UnicodeDecodeError:
        raise BadRecord("BAD_UTF8", "chunk") from None
    if i != len(data):
        raise BadRecord("TRAILING_BYTES" if i < len(data) else "TRUNCATED", "chunk")
    return records


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
