"""Streams of outputs merged into the records of one partition of a topic, as bytes where that is compiled."""

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from schemas.rails import Record
from transforms.chunks import CHUNK_RECORDS, ORIGINS, Chunk, pack_chunk, unpack_chunk

try:
    from transforms.avro_native import find_places, join_places
except ImportError:  # not compiled here: the records are read and written again
    find_places = join_places = None


def merge_streams(topic: str, partition: int, chunks: Iterable[Chunk], size: int = CHUNK_RECORDS) -> Iterator[Chunk]:
    """The records of these chunks in the order of their places, numbered from 0, in chunks of `size`.

    The place of a log output is (append time, source, offset, index), that of a record without an origin, an upsert, (append time, key,
    place in its stream, value), before log outputs of that time. DamagedChunk for a payload that cannot be read.
    """
    held = list(chunks)
    found = _find(held)
    if found is None:
        yield from _merge_records(topic, partition, held, size)
        return
    found.sort(key=itemgetter(0))
    clock = -1
    for first in range(0, len(found), size):
        batch = found[first : first + size]
        yield Chunk(topic, partition, first, clock, len(batch), join_places(batch, first))
        clock = batch[-1][0][0]


def _find(chunks: Sequence[Chunk]) -> list[Any] | None:
    """Places and bytes of all records; None where that is not compiled, or a chunk is of another form than outputs have."""
    if find_places is None:
        return None
    found: list[Any] = []
    for chunk in chunks:
        more = find_places(chunk.payload, chunk.count, ORIGINS.coder)
        if more is None:
            return None
        found += more
    return found


def _merge_records(topic: str, partition: int, chunks: Sequence[Chunk], size: int) -> Iterator[Chunk]:
    records = [record for chunk in chunks for record in unpack_chunk(chunk)]
    records.sort(key=_place)
    clock = -1
    for first in range(0, len(records), size):
        batch = [record._replace(offset=first + i) for i, record in enumerate(records[first : first + size])]
        yield pack_chunk(topic, partition, batch, clock)
        clock = batch[-1].at


def _place(record: Record) -> tuple[Any, ...]:
    origin = record.origin
    if origin is None:  # upserts of a key come from one stream: in its order, whatever chunk came first
        return record.at, (), record.key or b"", record.offset, record.value or b""
    return record.at, origin.source, origin.offset, origin.index
