"""Outputs of a shard to one partition encoded many at a time, in numpy: the bytes that `encode_record` writes one by one.

A field of all records is a matrix of bytes, a row per record, as wide as the longest, and a mask of those that count. The matrices stand
side by side, and what the mask lets through, row after row, is the payload. What does not fit (long values, outputs without origin) is
encoded record by record.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.rails import Position, Record
from transforms.avro_runtime import enc_long, enc_str
from transforms.chunks import encode_record
from transforms.fold import Emitted, Shard
from transforms.registry import Registry

MIN_OUTPUTS = 32  # below, they are encoded sooner one by one
MAX_WIDTH = 256  # bytes of a key, value or string: matrices that are wide and mostly empty cost more than they save

Longs = npt.NDArray[np.int64]

_SHIFTS = np.arange(0, 70, 7, dtype=np.uint64)


class _Unfit(Exception):
    """The values are not such as a matrix is made of."""


class Column(NamedTuple):
    """One field of all records: a matrix of bytes, which of them count (None: all), and how many do in each row."""

    bytes: npt.NDArray[np.uint8]
    counts: npt.NDArray[np.bool_] | None
    sizes: Longs | int

    def rows(self, part: slice) -> "Column":
        counts, sizes = self.counts, self.sizes
        return Column(
            self.bytes[part],
            None if counts is None else counts[part],
            sizes if isinstance(sizes, int) else sizes[part],
        )


Part = Column | bytes  # bytes: the same in all rows


def long_column(numbers: Longs) -> Column:
    """Integers as Avro writes them: zigzag, seven bits to a byte, lowest first."""
    z: Any = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    width = _width(z.max())
    if width == 1:
        return Column(z.astype(np.uint8)[:, None], None, 1)
    groups = z[:, None] >> _SHIFTS[:width]
    if _width(z.min()) == width:
        made = groups.astype(np.uint8) | 0x80
        made[:, -1] &= 0x7F
        return Column(made, None, width)
    more = groups > 0x7F  # of the groups behind this one some are left
    sizes = more.sum(axis=1) + 1
    made = (groups.astype(np.uint8) & 0x7F) | more.view(np.uint8) << 7
    return Column(made, np.arange(width) < sizes[:, None], sizes)


def _width(z: Any) -> int:
    return max(1, (int(z).bit_length() + 6) // 7)


def bytes_columns(values: Sequence[bytes] | Sequence[str]) -> list[Part]:
    """Bytes, or ASCII, behind their lengths."""
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    width = int(sizes.max())
    if width > MAX_WIDTH:
        raise _Unfit
    if not width:
        return [b"\0"]
    made = np.array(values, f"S{width}").view(np.uint8).reshape(len(values), width)
    if sizes.min() == width:
        return [enc_long(width), Column(made, None, width)]
    return [long_column(sizes), Column(made, np.arange(width) < sizes[:, None], sizes)]


def join_columns(rows: int, parts: Sequence[Part]) -> bytes:
    """The rows, one after another."""
    widths = [len(part) if isinstance(part, bytes) else part.bytes.shape[1] for part in parts]
    made = np.empty((rows, sum(widths)), np.uint8)
    counts: Any = None
    end = 0
    for part, width in zip(parts, widths, strict=True):
        start, end = end, end + width
        if isinstance(part, bytes):
            made[:, start:end] = np.frombuffer(part, np.uint8)
            continue
        made[:, start:end] = part.bytes
        if part.counts is not None:
            if counts is None:
                counts = np.ones(made.shape, np.bool_)
            counts[:, start:end] = part.counts
    return (made if counts is None else made[counts]).tobytes()


class OutputEncoder:
    """Encodes what `shard` emits, as records with their identity."""

    def __init__(self, registry: Registry, shard: Shard) -> None:
        self._registry, self._shard = registry, shard
        source = shard.source
        self._origin = b"\2" + enc_str(source.stage) + enc_str(source.topic) + enc_long(source.partition)
        self._fields: dict[type, list[str] | None] = {}

    def encode(self, first: int, times: Sequence[int], emitted: Sequence[Emitted]) -> bytes:
        """The payload of a chunk: all that comes next to one partition, as records from offset `first`, appended at `times`."""
        topics, partitions, keys, events, offsets, indexes, versions = zip(*emitted, strict=True)
        rows = len(emitted)
        if rows < MIN_OUTPUTS or None in keys or versions.count(None) < rows:
            return self._singly(first, times, emitted)
        target = (topics[0], partitions[0])
        if target not in self._shard.prevs:  # the first of all has no `prev`
            return self._singly(first, times[:1], emitted[:1]) + self.encode(first + 1, times[1:], emitted[1:])
        try:
            key, value = bytes_columns(keys), self._values(events)
        except _Unfit:
            return self._singly(first, times, emitted)
        prev = self._shard.follow(target, Position(offsets[-1], indexes[-1]))
        assert prev is not None
        # Positions, that of `prev` first: each is the `prev` of the next.
        positions = [
            long_column(np.array((before, *column))) for before, column in zip(prev, (offsets, indexes), strict=True)
        ]
        return join_columns(
            rows,
            [
                long_column(np.arange(first, first + rows)),
                long_column(np.array(times)),
                b"\2",
                *key,
                b"\2",
                *value,
                self._origin,
                *(column.rows(slice(1, None)) for column in positions),
                b"\2",
                *(column.rows(slice(None, -1)) for column in positions),
                b"\0",  # no headers
            ],
        )

    def _singly(self, first: int, times: Sequence[int], emitted: Sequence[Emitted]) -> bytes:
        encode, outputs = self._registry.encode, self._shard.identify(emitted)
        return b"".join(
            encode_record(Record(offset, at, output.key, encode(output.event), output.origin, ()))
            for offset, (at, output) in enumerate(zip(times, outputs, strict=True), first)
        )

    def _values(self, events: Sequence[Any]) -> list[Part]:
        """The framed values, behind their lengths."""
        kinds = set(map(type, events))
        kind = kinds.pop()
        if not kinds and (fields := self._plain_fields(kind)) is not None:
            try:
                parts: list[Part] = [self._registry.frame(kind)]
                for field, values in zip(fields, zip(*events, strict=True), strict=True):
                    parts += _field_parts(field, values)
                sizes: Any = 0
                for part in parts:
                    sizes = sizes + (len(part) if isinstance(part, bytes) else part.sizes)
                return [enc_long(sizes) if isinstance(sizes, int) else long_column(sizes), *parts]
            except (_Unfit, UnicodeEncodeError, OverflowError):
                pass  # the codec knows what to do
        return bytes_columns(list(map(self._registry.encode, events)))

    def _plain_fields(self, kind: type) -> list[str] | None:
        """The types of the fields of an event where all are primitives that make columns."""
        if kind not in self._fields:
            types = [field["type"] for field in self._registry.schema(kind)["fields"]]
            plain = types and issubclass(kind, tuple) and all(isinstance(of, str) and of in _PYTHON for of in types)
            self._fields[kind] = types if plain else None
        return self._fields[kind]


_PYTHON = {"int": int, "long": int, "string": str, "bytes": bytes}


def _field_parts(field: str, values: Sequence[Any]) -> list[Part]:
    if set(map(type, values)) != {_PYTHON[field]}:
        raise _Unfit
    if field in ("string", "bytes"):
        return bytes_columns(values)
    numbers = np.array(values, np.int64)
    if field == "int" and not (numbers.min() >= -(2**31) and numbers.max() < 2**31):
        raise _Unfit
    return [long_column(numbers)]
