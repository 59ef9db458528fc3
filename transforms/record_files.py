"""Client records in files of the user's own: Avro containers and JSONL, read as chunks for the in-memory loop, and written.

| ending | what it holds | record |
|---|---|---|
| `.avro` | `rails.Record`, raw log records | as it is, whatever its value; numbered anew |
| `.avro` | events of one type that the registry knows | the event, at `time_of` it, keyed by `key_of` it |
| `.jsonl`, `.jsonl.gz` | one event per line (`EventObjects.read_line`) | the same; at the line's `at` where it has one |

A time outside the years 1970 to 9999 is no time of a log: the record has that of the one before it, raw records too.
Nothing in such a file is lost: a line that is no event becomes a record with the line's bytes as value, without key, at the time of the
line before it in the file, and a header `reader.error` that says what is wrong; it ends in the dead letters. A file that cannot be read as
what its name says is a RecordFileError.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro

from schemas.rails import Record
from transforms.chunks import CHUNK_RECORDS, Chunk, encode_record, together, unpack_chunk
from transforms.event_objects import EventObjects
from transforms.partition_files import CODECS, RawBlock
from transforms.record_readers import Reading, RecordFileError, check_record_file, records_of
from transforms.registry import Registry
from transforms.schema_files import container_schema
from transforms.whole_files import whole_file

__all__ = [
    "ReadRecords",
    "Reading",
    "RecordFileError",
    "WriteRecords",
    "check_record_file",
    "read_record_file",
    "write_event_file",
    "write_record_file",
]

CHUNK_BYTES = 4 << 20  # a chunk ends here even if it has few records: it bounds the memory that a file takes


class ReadRecords(beam.PTransform):
    """Root → PCollection[Chunk] of client records: `record.at` is the time it is to be appended at, its offset its number in the file.

    `paths` are local files or URLs of Beam file systems; one that is named twice is read once. They are read in parallel, each in memory
    of a few chunks. The partition of a chunk is the place of its file among the sorted paths, its topic is `topic`, timestamps are not set.
    Each file is opened when the pipeline is built: RecordFileError says at once what is wrong with its header, later what is wrong inside.
    """

    def __init__(
        self,
        paths: Iterable[str],
        registry: Registry,
        time_of: Callable[[Any], int],
        key_of: Callable[[Any], str | None],
        chunk_records: int = CHUNK_RECORDS,
        topic: str = "input",
    ) -> None:
        super().__init__()
        if chunk_records < 1:
            raise ValueError(f"chunk_records must be at least 1, got {chunk_records}")
        self._paths = sorted(set(map(str, paths)))
        self._reading = Reading(registry, time_of, key_of, chunk_records, topic)
        for path in self._paths:
            check_record_file(path, registry)

    def expand(self, root: Any) -> Any:
        reading = self._reading

        def read(group: tuple[int, Iterable[str]]) -> Iterator[Chunk]:
            for path in group[1]:
                yield from read_record_file(path, reading, group[0])

        return (
            root
            | "Files" >> beam.Create(list(enumerate(self._paths)), reshuffle=False).with_output_types(tuple[int, str])
            | "Spread" >> beam.GroupByKey()
            | "Read" >> beam.FlatMap(read).with_output_types(Chunk)
        )


def read_record_file(path: str, reading: Reading, partition: int = 0) -> Iterator[Chunk]:
    """The records of a file in chunks of `chunk_records`, fewer where they are large."""
    held: list[bytes] = []
    offset = size = 0
    before = clock = -1
    for record in records_of(path, reading):
        raw = encode_record(record if record.offset == offset else Record(offset, *record[1:]))
        held.append(raw)
        size += len(raw)
        offset += 1
        clock = max(clock, record.at)
        if len(held) == reading.chunk_records or size >= CHUNK_BYTES:
            yield Chunk(reading.topic, partition, offset - len(held), before, len(held), b"".join(held))
            held, size, before = [], 0, clock
    if held:
        yield Chunk(reading.topic, partition, offset - len(held), before, len(held), b"".join(held))


def write_record_file(path: str | Path, records: Iterable[Record], codec: str = "null") -> int:
    """Writes a container of `rails.Record`, whole, records as given; gives their number. Equal records give equal bytes."""
    return _write_container(path, "rails.Record", map(encode_record, records), codec)


def write_event_file(path: str | Path, registry: Registry, events: Iterable[Any], codec: str = "null") -> int:
    """Writes a container of events of one type, whole; gives their number. ValueError when there are none, or of two types."""
    rest = iter(events)
    first = next(rest, None)
    if first is None:
        raise ValueError(f"{path}: no events, so no type of the file")
    kind = type(first)

    def encoded() -> Iterator[bytes]:
        for event in chain([first], rest):
            if type(event) is not kind:
                raise ValueError(f"{path}: given a {type(event).__name__} among {kind.__name__}")
            yield registry.encode(event)[5:]

    return _write_container(path, EventObjects.of(registry).name(first), encoded(), codec)


def _write_container(path: str | Path, name: str, encoded: Iterator[bytes], codec: str) -> int:
    if codec not in CODECS:
        raise ValueError(f"codec must be one of {', '.join(CODECS)}, got {codec!r}")
    sync = hashlib.md5(name.encode(), usedforsecurity=False).digest()
    total = 0
    with whole_file(path) as file:
        writer = fastavro.write.Writer(file, container_schema(name), codec=codec, sync_marker=sync)
        while block := list(islice(encoded, CHUNK_RECORDS)):
            writer.write_block(RawBlock(len(block), b"".join(block)))
            total += len(block)
        writer.flush()
    return total


class WriteRecords(beam.PTransform):
    """PCollection[Chunk], bounded → PCollection[tuple[str, int]]: one container of `rails.Record`; gives (path, number of records).

    The records stand in the order of (topic, partition, offset) of their chunks and are numbered from 0, so the file is the same for any
    bundling; it is written for an empty input too, whole, by rename. All records pass through the memory of one worker.
    """

    def __init__(self, path: str | Path, codec: str = "null") -> None:
        super().__init__()
        if codec not in CODECS:
            raise ValueError(f"codec must be one of {', '.join(CODECS)}, got {codec!r}")
        self._path, self._codec = str(path), codec

    def expand(self, chunks: Any) -> Any:
        path, codec = self._path, self._codec

        def write(group: tuple[int, Iterable[Chunk]]) -> tuple[str, int]:
            ordered = sorted((chunk for chunk in group[1] if chunk.count), key=_chunk_order)
            records = (record for chunk in ordered for record in unpack_chunk(chunk))
            return path, write_record_file(path, (r._replace(offset=n) for n, r in enumerate(records)), codec)

        # The chunk that makes a file of no records.
        empty = chunks.pipeline | "Empty" >> beam.Create(
            [Chunk("", 0, 0, -1, 0, b"")], reshuffle=False
        ).with_output_types(Chunk)
        return (
            (chunks, empty)
            | "WithEmpty" >> beam.Flatten()
            | "Together" >> beam.Map(together).with_output_types(tuple[int, Chunk])
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.Map(write).with_output_types(tuple[str, int])
        )


def _chunk_order(chunk: Chunk) -> tuple[str, int, int]:
    return chunk.topic, chunk.partition, chunk.offset
