"""Records of one file, by its ending: Avro containers and JSONL (what they hold, and what is lost when: `record_files`)."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from schemas.rails import Header, Record
from transforms.avro import MAX_BYTES
from transforms.chunks import CHUNK_RECORDS, decode_records
from transforms.errors import BadRecord, InputError
from transforms.event_objects import LAST_TIME, EventObjects
from transforms.partition_files import RECORD_SCHEMA
from transforms.registry import Registry
from transforms.schema_files import container_schema

ENDINGS = (".avro", ".jsonl", ".jsonl.gz")
_ReadEvent = Callable[
    [BytesIO, bytes], tuple[Any, bytes]
]  # (position in a block, the block) → event and its framed value
_NO_TIME = -(1 << 63) - 1  # no record can have it
_CANONICAL = fastavro.schema.to_parsing_canonical_form(RECORD_SCHEMA)


class RecordFileError(InputError):
    """A file is not what its name says; the message is one line with the file's name and what is wrong."""


class Reading(NamedTuple):
    """How files become records.

    time_of: time (ms) an event is appended at; where it, or the `at` of a raw record, lies outside the years 1970 to 9999 the record has
    the time of the one before it.
    key_of: the record's key, None for none. Both are pure; BadRecord makes a record without key of the event, as of a bad line.
    """

    registry: Registry
    time_of: Callable[[Any], int]
    key_of: Callable[[Any], str | None]
    chunk_records: int = CHUNK_RECORDS
    topic: str = "input"


def check_record_file(path: str, registry: Registry) -> None:
    """RecordFileError when the file cannot be opened or its beginning is not what its name says."""
    for _ in _untimed_records(path, Reading(registry, _no_time, _no_key)):
        return


def _no_time(event: Any) -> int:
    return 0


def _no_key(event: Any) -> str | None:
    return None


def records_of(path: str, reading: Reading) -> Iterator[Record]:
    """The records of a file; those before the first that has a time get the time of that one. Offsets are the writer's, or 0."""
    first: int | None = None
    for record in _untimed_records(path, reading):
        if record.at == _NO_TIME:
            if first is None:
                first = next((later.at for later in _untimed_records(path, reading) if later.at != _NO_TIME), 0)
            record = record._replace(at=first)
        yield record


def _untimed_records(path: str, reading: Reading) -> Iterator[Record]:
    try:
        with _open(path) as file:
            if path.endswith(".avro"):
                yield from _container_records(path, file, reading)
            elif path.endswith(".jsonl.gz"):
                with gzip.open(file) as lines:
                    yield from _line_records(path, lines, reading)
            elif path.endswith(".jsonl"):
                yield from _line_records(path, file, reading)
            else:
                raise RecordFileError(f"{path}: unknown kind of file, not one of {', '.join(ENDINGS)}")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise RecordFileError(f"{path}: not a whole gzip file") from None
    except OSError as error:
        raise RecordFileError(f"{path}: {error.strerror or error}") from None


def _open(path: str) -> Any:
    if "://" not in path:
        return open(path, "rb")
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


# --- records of events ---


class _Maker:
    """Makes records of events; remembers the time of the one before."""

    def __init__(self, reading: Reading) -> None:
        self.reading, self.time = reading, _NO_TIME

    def record(self, event: Any, value: bytes, at: int | None = None) -> Record:
        try:
            key = self.reading.key_of(event)
            time = self.reading.time_of(event) if at is None else at
        except BadRecord as error:
            return self.refused(value, error, at)
        if 0 <= time <= LAST_TIME:
            self.time = time
        return Record(0, self.time, None if key is None else key.encode(), value, None, ())

    def refused(self, value: bytes, error: BadRecord, at: int | None) -> Record:
        """What is no event, or none that the pipeline can place: its bytes, without key, and why."""
        if at is not None:
            self.time = at
        reason = f"{error.code} {error.detail}".rstrip()
        return Record(0, self.time, None, value, None, (Header("reader.error", reason.encode()),))


# --- JSONL ---


def _line_records(path: str, file: Any, reading: Reading) -> Iterator[Record]:
    """Blank lines are no records. A line longer than a message may be is an error of the file: no dead letter could hold it."""
    objects, maker = EventObjects.of(reading.registry), _Maker(reading)
    for line in _lines(path, file):
        try:
            event, at = objects.read_line(line)
            record = maker.record(event, reading.registry.encode(event), at)
        except BadRecord as error:
            record = maker.refused(line, error, objects.line_time(line))
        except UnicodeEncodeError:  # JSON may name half a character
            record = maker.refused(line, BadRecord("NOT_AN_EVENT", "not Unicode"), objects.line_time(line))
        yield record


def _lines(path: str, file: Any) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MAX_BYTES + 2):
        number += 1
        if number == 1:
            if line.startswith((b"Obj\x01", b"\x1f\x8b")):
                raise RecordFileError(f"{path}: not JSONL but {'Avro' if line[:1] == b'O' else 'gzip'}: wrong ending")
            line = line.removeprefix(b"\xef\xbb\xbf")
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(line) > MAX_BYTES:
            raise RecordFileError(f"{path}: line {number} is longer than {MAX_BYTES} bytes")
        if line.strip():
            yield line


# --- Avro containers ---


def _container_records(path: str, file: Any, reading: Reading) -> Iterator[Record]:
    try:
        blocks = fastavro.block_reader(file)
        canonical = fastavro.schema.to_parsing_canonical_form(blocks.writer_schema)
        name = json.loads(canonical)["name"]
    except Exception:  # whatever the bytes make fastavro raise, they are no header of a container of records
        raise RecordFileError(f"{path}: not an Avro container file of records") from None
    if canonical == _CANONICAL:
        return _raw_records(path, blocks)
    if name == "rails.Record":
        raise RecordFileError(f"{path}: its schema is not the rails.Record of this version")
    if not EventObjects.of(reading.registry).knows(name):
        domains = ", ".join(reading.registry.domains)
        raise RecordFileError(f"{path}: holds {name}, which is no event of {domains}")
    return _event_records(path, name, blocks, reading)


def _blocks(path: str, blocks: Any) -> Iterator[tuple[int, bytes, int]]:
    """(number, payload, count of records) of each block."""
    number = 0
    while True:
        try:
            block = next(blocks)
            found = number, block.bytes_.getvalue(), block.num_records
        except StopIteration:
            return
        except Exception:  # truncated or damaged: fastavro has no exception of its own for it
            raise RecordFileError(f"{path}: truncated or damaged in block {number}") from None
        yield found
        number += 1


def _raw_records(path: str, blocks: Any) -> Iterator[Record]:
    """As they stand there; the log takes their times as they are, so no time may be one that no log can have."""
    time = _NO_TIME
    for number, payload, count in _blocks(path, blocks):
        try:
            records = decode_records(payload, count)
        except BadRecord as error:
            raise RecordFileError(f"{path}: damaged in block {number}: {error.code}") from None
        for record in records:
            if 0 <= record.at <= LAST_TIME:
                time = record.at
                yield record
            else:
                yield record._replace(at=time)


def _event_records(path: str, name: str, blocks: Any, reading: Reading) -> Iterator[Record]:
    maker = _Maker(reading)
    event = _as_written(name, blocks, reading) if _is_current(name, blocks) else _resolved(name, blocks, reading)
    for number, payload, count in _blocks(path, blocks):
        data = BytesIO(payload)
        for index in range(count):
            try:
                record = maker.record(*event(data, payload))
            except BadRecord as error:
                reason = f"{error.code} {error.detail}".rstrip()
                raise RecordFileError(f"{path}: damaged in block {number}, record {index}: {reason}") from None
            except Exception as error:  # whatever the bytes make fastavro raise
                raise RecordFileError(f"{path}: damaged in block {number}, record {index}: {_line(error)}") from None
            yield record
        if data.tell() != len(payload):
            raise RecordFileError(f"{path}: damaged in block {number}: bytes behind its records")


def _is_current(name: str, blocks: Any) -> bool:
    """Whether the container was written with the schema that the registry writes."""
    ours = fastavro.schema.to_parsing_canonical_form(container_schema(name))
    return bool(fastavro.schema.to_parsing_canonical_form(blocks.writer_schema) == ours)


def _as_written(name: str, blocks: Any, reading: Reading) -> _ReadEvent:
    """The record's own bytes are the value: fastavro only finds where they end, the registry decodes them, strictly."""
    written = fastavro.parse_schema(_without_logical_types(container_schema(name)))
    frame, decode = reading.registry.frame(EventObjects.of(reading.registry).type(name)), reading.registry.decode
    read = fastavro.schemaless_reader

    def event(data: BytesIO, payload: bytes) -> tuple[Any, bytes]:
        start = data.tell()
        read(data, written, None)
        value = frame + payload[start : data.tell()]
        return decode(value), value

    return event


def _resolved(name: str, blocks: Any, reading: Reading) -> _ReadEvent:
    """Another version of the schema: by Avro's rules for reader and writer."""
    # Without logical types: fastavro would make dates of times, and fails at those that no calendar has.
    written, wanted = (
        fastavro.parse_schema(_without_logical_types(schema))
        for schema in (blocks.writer_schema, container_schema(name))
    )
    objects, registry = EventObjects.of(reading.registry), reading.registry

    def event(data: BytesIO, payload: bytes) -> tuple[Any, bytes]:
        found = objects.event(name, fastavro.schemaless_reader(data, written, wanted))
        return found, registry.encode(found)

    return event


def _line(error: Exception) -> str:
    return f"{type(error).__name__} {' '.join(str(error).split())}"[:200]


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _without_logical_types(part) if name in ("type", "fields", "items", "values") else part
        for name, part in schema.items()
        if name not in ("logicalType", "__fastavro_parsed_schema", "__named_schemas")
    }
