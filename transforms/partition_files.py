"""One partition of a topic on disk: an Avro container file of log records (schema `rails.Record`).

Its blocks hold exactly CHUNK_RECORDS records (except the last), so they are chunks: reading wraps them, writing
copies them, and the bytes of a file depend on its records only. The header says which partition it is (`rails.topic`,
`rails.partition`, `rails.partitions`), how many records it has and from which offset (`rails.count`, `rails.offset`),
and the clock before each block (`rails.clocks`: largest append time so far, ms), which would otherwise take a look at
every record. Any Avro tool reads the files.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import fastavro

from schemas.rails import Record
from transforms.chunks import CHUNK_RECORDS, Chunk, first_offset, pack_chunk, regroup_chunks, unpack_chunk
from transforms.errors import BadRecord, InputError
from transforms.schema_files import container_schema
from transforms.whole_files import whole_file

RECORD_SCHEMA = container_schema("rails.Record")
_CANONICAL = fastavro.schema.to_parsing_canonical_form(RECORD_SCHEMA)
CODECS = ("null", "deflate")  # those that need no further library


class TopicFileError(InputError):
    """A file is not the partition it should be; the message is one line with the file's name and what is wrong."""


class PartitionReader:
    """One partition file: iterating gives its chunks in offset order, as the blocks stand in it, undecoded.

    Raises TopicFileError when the file is not an Avro container of log records, is truncated, or its offsets do not
    follow one another.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = open(self.path, "rb")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise TopicFileError(f"{self.path}: {error.strerror}") from None
        try:
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def _read_header(self) -> None:
        try:
            self._blocks = fastavro.block_reader(self._file)
            schema = fastavro.schema.to_parsing_canonical_form(self._blocks.writer_schema)
        except Exception:  # whatever the bytes make fastavro raise, they are no header
            raise TopicFileError(f"{self.path}: not an Avro container file") from None
        if schema != _CANONICAL:
            name = (
                self._blocks.writer_schema.get("name") if isinstance(self._blocks.writer_schema, dict) else "no record"
            )
            raise TopicFileError(f"{self.path}: its schema ({name}) is not the rails.Record of this version")
        meta = self._blocks.metadata
        try:
            self.topic = meta["rails.topic"]
            self.partition, self.partitions, self.count, self.offset = (
                int(meta["rails." + name]) for name in ("partition", "partitions", "count", "offset")
            )
            self._clocks = [int(clock) for clock in meta["rails.clocks"].split()]
        except (KeyError, ValueError) as error:
            raise TopicFileError(f"{self.path}: not written as a topic on disk: metadata {error}") from None

    def __iter__(self) -> Iterator[Chunk]:
        offset = self.offset
        for number, clock in enumerate(self._clocks):
            try:
                block = next(self._blocks)
                payload, count = block.bytes_.getvalue(), block.num_records
            except Exception:  # truncated or damaged: fastavro has no exception of its own for it
                raise TopicFileError(f"{self.path}: truncated or damaged in block {number} (offset {offset})") from None
            chunk = Chunk(self.topic, self.partition, offset, clock, count, payload)
            if count < 1 or _starts_at(chunk) != offset:
                raise TopicFileError(f"{self.path}: expected block {number} to start at offset {offset}")
            yield chunk
            offset += count
        if offset != self.offset + self.count or self._file.read(1):
            raise TopicFileError(f"{self.path}: does not end at offset {self.offset + self.count} as its header says")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def read_partition(path: str | Path, chunk_records: int = CHUNK_RECORDS) -> Iterator[Chunk]:
    """The chunks of a partition file in offset order, of `chunk_records` records each; see PartitionReader for errors.

    Other sizes than CHUNK_RECORDS take the blocks apart, which costs a decode.
    """
    with PartitionReader(path) as chunks:
        yield from chunks if chunk_records == CHUNK_RECORDS else regroup_chunks(chunks, chunk_records)


class PartitionWriter:
    """Writes one partition file; it appears under its name, whole, on `close`. As a context manager, an exception
    discards it.

    Each chunk must begin where the one before it ended (TopicFileError otherwise). Holes inside a chunk are not looked
    for: that would decode every record. The same records give the same bytes whatever chunks they come in.
    """

    def __init__(self, path: str | Path, topic: str, partition: int, partitions: int, codec: str = "null") -> None:
        if not 0 <= partition < partitions:
            raise ValueError(f"partition {partition} of {topic} is outside 0..{partitions - 1}")
        if codec not in CODECS:
            raise ValueError(f"codec must be one of {', '.join(CODECS)}, got {codec!r}")
        self.path = Path(path)
        self.count = 0
        self._first: int | None = None
        self._clocks: list[int] = []
        self._held: list[Chunk] = []  # chunks of the block that is not full yet
        self._held_count = 0
        self._last: Chunk | None = None
        self._meta = {"rails.topic": topic, "rails.partition": str(partition), "rails.partitions": str(partitions)}
        self._codec = codec
        self._sync = hashlib.md5(f"{topic}/{partition}".encode(), usedforsecurity=False).digest()
        self._place = (topic, partition)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The clocks stand in the header but are known at the end: blocks go to an unnamed file, and are copied behind
        # the header.
        self._body = tempfile.TemporaryFile(dir=self.path.parent)  # noqa: SIM115 - closed by close() and discard()
        self._writer = self._new_writer(self._body, {})
        self._body_start = self._body.tell()

    def _new_writer(self, file: Any, metadata: Mapping[str, str]) -> Any:
        writer = fastavro.write.Writer(
            file, RECORD_SCHEMA, codec=self._codec, metadata=dict(metadata), sync_marker=self._sync
        )
        writer.flush()
        return writer

    @property
    def _next(self) -> int | None:
        return None if self._first is None else self._first + self.count

    def write(self, chunk: Chunk) -> None:
        """Appends a chunk; its `clock` is taken as given."""
        if (chunk.topic, chunk.partition) != self._place:
            raise TopicFileError(f"{self.path}: given a chunk of {chunk.topic} partition {chunk.partition}")
        if self._first is None:
            self._first = chunk.offset
        if chunk.offset != self._next:
            raise TopicFileError(
                f"{self.path}: expected offset {self._next}, got {chunk.offset}: offsets are not consecutive"
            )
        if not chunk.count:
            return
        self.count += chunk.count
        self._last = chunk
        self._held.append(chunk)
        self._held_count += chunk.count
        if self._held_count >= CHUNK_RECORDS:
            blocks = list(regroup_chunks(self._held))
            self._held = blocks[-1:] if blocks[-1].count < CHUNK_RECORDS else []
            self._held_count %= CHUNK_RECORDS
            for block in blocks[: len(blocks) - len(self._held)]:
                self._write_block(block)

    def append(self, records: Iterable[Record]) -> None:
        """Appends single records, whose offsets must follow one another (TopicFileError otherwise)."""
        batch = list(records)
        start = (batch[0].offset if batch else 0) if self._next is None else self._next
        for expected, record in enumerate(batch, start):
            if record.offset != expected:
                raise TopicFileError(
                    f"{self.path}: expected offset {expected}, got {record.offset}: offsets are not consecutive"
                )
        for i in range(0, len(batch), CHUNK_RECORDS):
            clock = -1 if self._last is None else max(self._last.clock, *(r.at for r in unpack_chunk(self._last)))
            self.write(pack_chunk(*self._place, batch[i : i + CHUNK_RECORDS], clock))

    def _write_block(self, chunk: Chunk) -> None:
        self._clocks.append(chunk.clock)
        self._writer.write_block(RawBlock(chunk.count, chunk.payload))

    def close(self) -> None:
        """Puts the file in its place."""
        for block in regroup_chunks(self._held):
            self._write_block(block)
        self._writer.flush()
        meta = self._meta | {
            "rails.offset": str(self._first or 0),
            "rails.count": str(self.count),
            "rails.clocks": " ".join(map(str, self._clocks)),
        }
        with self._body, whole_file(self.path) as file:
            self._new_writer(file, meta)
            self._body.seek(self._body_start)
            shutil.copyfileobj(self._body, file, 1 << 20)

    def discard(self) -> None:
        """Drops what was written, unless `close` has put it in place."""
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class RawBlock:
    """What fastavro's writer needs to copy a block: the records' encodings one after another."""

    def __init__(self, count: int, payload: bytes) -> None:
        self.num_records = count
        self.bytes_ = BytesIO(payload)


def _starts_at(chunk: Chunk) -> int | None:
    try:
        return first_offset(chunk)
    except BadRecord:
        return None
