"""The headers of records on Kafka: the origin (contract line 5), the version of an upsert, and, if wanted, CloudEvents and a trace.

| header | where | value |
|---|---|---|
| `rails-origin` | log outputs | `stage/topic id/partition/` in UTF-8, then offset and index, then those of `prev` (-1 and -1: none) |
| `rails-version` | upserts | the version |
| `traceparent` | all outputs, if `Headings.trace` | W3C Trace Context, version 00, sampled |
| `ce_…`, `content-type` | all outputs, if `Headings.cloud_events` | CloudEvents 1.0, binary mode of the Kafka binding |

Offsets and versions are 8 bytes, indexes 4, big-endian.

Nothing is random. A trace begins at the record that no traced record has caused: its id is a hash of that record's partition and its
offset; a span's id is a hash of the writing shard and the place of the output among those of the shard. So a repeat has the ids of the
first writing, and every output that goes back to the same record has the same trace id. Headers of clients stay as they are.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

from schemas.rails import Header, Origin, Position, Source
from transforms.fold import ContractError

ORIGIN, VERSION, TRACE = "rails-origin", "rails-version", "traceparent"

KafkaHeaders = list[tuple[str, bytes]]
ReadHeaders = tuple[Origin | None, tuple[Header, ...], bytes | None]  # origin, the user's headers, trace id

_PLACE = struct.Struct(">qiqi")
_UPSERT = struct.Struct(">q")
pack_place = _PLACE.pack
_TRACE = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_MAX_SOURCES = 10_000  # that are remembered; more than any topic has writers
_LOW = (1 << 64) - 1

_new = tuple.__new__


class BadHeaders(ContractError):
    """A record on a log topic has an origin that no stage writes: someone else writes to the topic (5)."""


def source_bytes(source: Source) -> bytes:
    """The part of the origin that names the shard; ValueError if it could be read in two ways."""
    stage, topic, partition = source
    if not stage or not topic or "/" in stage or "/" in topic or partition < 0:
        raise ValueError(f"stage and topic id must be without '/' and not empty, the partition from 0, got {source}")
    return f"{stage}/{topic}/{partition}/".encode()


def encode_origin(origin: Origin) -> bytes:
    """The value of the header `rails-origin`."""
    source, offset, index, prev = origin
    return source_bytes(source) + _PLACE.pack(offset, index, *(prev or (-1, -1)))


_sources: dict[bytes, Source] = {}


def decode_origin(value: bytes) -> Origin:
    """The origin whose encoding is exactly `value`; else BadHeaders."""
    head = value[: -_PLACE.size]
    source = _sources.get(head) or _decode_source(head)
    offset, index, prev_offset, prev_index = _PLACE.unpack_from(value, len(head))
    if prev_offset >= 0:
        if prev_index < 0 or not (prev_offset, prev_index) < (offset, index) or index < 0:
            raise BadHeaders(f"{ORIGIN}: {offset}.{index} after {prev_offset}.{prev_index}")
        return _new(Origin, (source, offset, index, _new(Position, (prev_offset, prev_index))))
    if prev_offset != -1 or prev_index != -1 or offset < 0 or index < 0:
        raise BadHeaders(f"{ORIGIN}: {offset}.{index} after {prev_offset}.{prev_index}")
    return _new(Origin, (source, offset, index, None))


def _decode_source(head: bytes) -> Source:
    try:
        stage, topic, partition, rest = head.decode().split("/")
        source = Source(stage, topic, int(partition))
        if rest or source_bytes(source) != head:
            raise ValueError
    except ValueError:
        raise BadHeaders(f"{ORIGIN}: {len(head)} bytes that name no shard") from None
    if len(_sources) >= _MAX_SOURCES:
        _sources.clear()
    _sources[head] = source
    return source


def decode_version(value: bytes) -> int:
    """The version of an upsert; BadHeaders for anything but 8 bytes."""
    if len(value) != _UPSERT.size:
        raise BadHeaders(f"{VERSION}: {len(value)} bytes, expected {_UPSERT.size}")
    return int(_UPSERT.unpack(value)[0])


def read_headers(headers: Sequence[tuple[str, bytes | None]] | None, from_clients: bool = False) -> ReadHeaders:
    """What the headers of a record say; a header without a value becomes an empty one.

    On a topic that clients may write (`from_clients`) an origin proves nothing: all headers are the user's. On a log topic what a stage
    has written has no headers of a user, as what stands there is ours. BadHeaders for an origin that no stage writes.
    """
    if not headers:
        return None, (), None
    if not from_clients:
        first, value = headers[0]  # where a stage writes the origin
        if first == ORIGIN and len(headers) == 1 and value is not None:
            return decode_origin(value), (), None
        names = [name for name, _ in headers]
        if ORIGIN in names:
            value = headers[names.index(ORIGIN)][1]
            if value is None or names.count(ORIGIN) > 1:
                raise BadHeaders(f"{ORIGIN}: twice, or without a value")
            # What stands beside the origin is ours too, so it need not be looked at closely.
            trace = headers[names.index(TRACE)][1] if TRACE in names else None
            return decode_origin(value), (), trace[3:35] if trace is not None and len(trace) == 55 else None
    traces = [value for name, value in headers if name == TRACE and value is not None]
    users = tuple(_new(Header, (name, value or b"")) for name, value in headers)
    return None, users, trace_id(traces[0]) if traces else None


def trace_id(value: bytes) -> bytes | None:
    """The trace id (32 hexadecimal digits) of a `traceparent`; None if it is not valid."""
    found = _TRACE.fullmatch(value)
    if found is None or not found[1].strip(b"0") or not found[2].strip(b"0"):
        return None
    return found[1]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Headings:
    """Which headers outputs have beside origin and version; each costs time per output (docs/operations.md)."""

    trace: bool = True
    cloud_events: bool = False


class HeaderWriter:
    """Makes the headers of what one shard writes."""

    def __init__(self, source: Source, headings: Headings = Headings()) -> None:
        self.prefix = source_bytes(source)
        stage, topic, partition = source
        self._trace, self._cloud_events = headings.trace, headings.cloud_events
        self._first = b"%016x" % (
            _hash(f"{topic}/{partition}") or 1
        )  # of the traces that begin on the shard's partition
        self._spans = _hash(f"{stage}/{topic}/{partition}")
        self._name = self.prefix[:-1]
        self._time = (-1, b"")
        self.bare = not (headings.trace or headings.cloud_events)  # the origin is all: prefix + pack_place(…)

    def of_output(
        self, offset: int, index: int, prev: tuple[int, int] | None, at: int, kind: str, cause: bytes | None
    ) -> KafkaHeaders:
        """Of a log output: its place and the one before it; `at` (ms) is the append time of the record that caused it, `kind` the
        name of its type, `cause` the trace id of that record, None if it has none."""
        before = (-1, -1) if prev is None else prev
        headers = [(ORIGIN, self.prefix + pack_place(offset, index, before[0], before[1]))]
        if self._trace:
            headers.append((TRACE, self._traceparent(offset, index, cause)))
        if self._cloud_events:
            headers += self._cloud_event(b"%d.%d" % (offset, index), at, kind)
        return headers

    def of_upsert(self, offset: int, version: int, at: int, kind: str, cause: bytes | None) -> KafkaHeaders:
        """Of an upsert, which has a version instead of a place."""
        headers = [(VERSION, _UPSERT.pack(version))]
        if self._trace:
            headers.append((TRACE, self._traceparent(offset, -1, cause)))
        if self._cloud_events:
            headers += self._cloud_event(b"%d.v%d" % (offset, version), at, kind)
        return headers

    def _traceparent(self, offset: int, index: int, cause: bytes | None) -> bytes:
        # Places of one shard differ in (offset << 20) + index, shards by their hash.
        span = (self._spans + (offset << 20) + index) & _LOW or 1
        if cause is None:
            return b"00-%b%016x-%016x-01" % (self._first, offset, span)
        return b"00-%b-%016x-01" % (cause, span)

    def _cloud_event(self, place: bytes, at: int, kind: str) -> KafkaHeaders:
        if self._time[0] != at:
            time = datetime.fromtimestamp(at // 1000, UTC)
            self._time = at, f"{time:%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z".encode()
        return [
            ("ce_specversion", b"1.0"),
            ("ce_id", self._name + b"/" + place),
            ("ce_source", b"/" + self._name),
            ("ce_type", kind.encode()),
            ("ce_time", self._time[1]),
            ("content-type", b"avro/binary"),
        ]
