"""A few fields of all records of a chunk at once: one cursor per record, all moved over one field after another.

Where an Avro field ends is only known once it is reached, so a record is read from front to back; but a thousand
records can be read side by side, in numpy. Their values are found by the frame (a zero byte and the schema id) that
each begins with. From there the cursors move over the fields, the origin and the headers, and must arrive where the
next record begins; then over the head of each record, and must arrive at its frame. So every byte is accounted for,
and each field is checked as strictly as `transforms.avro` does. What is not exactly so (another schema, a tombstone,
an integer of nine bytes, a damaged value) is not read at all: `FieldScan.read` gives None, and the reader decodes the
chunk record by record.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import fastavro
import numpy as np
import numpy.typing as npt

from transforms.avro import MAX_BYTES
from transforms.schema_files import container_schema

Longs = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

MIN_RECORDS = 32  # below, a record is decoded sooner than numpy is called for each field
MAX_ITEMS = 100  # of an array or map; longer ones would take longer side by side than one by one
MAX_SYMBOLS = 64  # of an enum: an index of one byte

_PADDING = 16  # zero bytes behind the payload, so that eight bytes can be read at any cursor in it
_HIGH = np.uint64(0x8080808080808080)
_LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
# (what stays, what moves, by how much): closes the gaps that the high bits of an integer's bytes leave
_CLOSE = tuple(
    (np.uint64(stays), np.uint64(moves), np.uint64(bits))
    for stays, moves, bits in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)


class _NoScan(Exception):
    """The schema has a type that no step moves over."""


class _Mismatch(Exception):
    """The records are not all as the schema has them."""


class _Payload:
    """The bytes of a chunk, singly and as the eight from each place on. A cursor too far behind the end raises IndexError."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.size = raw, len(raw)
        padded = raw + bytes(_PADDING)
        self.bytes = np.frombuffer(padded, np.uint8)
        self.words: Words = np.ndarray((self.size + _PADDING - 7,), "<u8", padded, 0, (1,))


Step = Callable[[_Payload, Longs], Longs]  # moves the cursors (at least one) over a value
Read = Callable[[_Payload, Longs], tuple[Any, Longs]]  # the same, and gives what stands there


def _need(fine: Any) -> None:
    if not fine:
        raise _Mismatch


def _varints(payload: _Payload, at: Longs) -> tuple[Longs, Longs]:
    """Integers of at most eight bytes, before zigzag, in the shortest form."""
    words = payload.words[at]
    stops = ~words & _HIGH
    stop = stops & (~stops + np.uint64(1))  # the high bit of the last byte
    _need(stop.all())
    below = stop - np.uint64(1)
    n = words & below & _LOW
    _need(not ((n < stop >> np.uint64(7)) & (stop != np.uint64(0x80))).any())  # the last of several bytes is not zero
    for stays, moves, bits in _CLOSE:
        n = n & stays | (n & moves) >> bits
    return n.view(np.int64), at + (np.bitwise_count(below) + 1 >> 3)


def _longs(payload: _Payload, at: Longs) -> tuple[Longs, Longs]:
    n, at = _varints(payload, at)
    return (n >> 1) ^ -(n & 1), at


def _ints(payload: _Payload, at: Longs) -> tuple[Longs, Longs]:
    n, at = _longs(payload, at)
    _need(n.min() >= -(2**31) and n.max() < 2**31)
    return n, at


def _booleans(payload: _Payload, at: Longs) -> tuple[Any, Longs]:
    raw = payload.bytes[at]
    _need(raw.max() <= 1)
    return raw == 1, at + 1


def _indexes(payload: _Payload, at: Longs, count: int) -> tuple[Any, Longs]:
    """Branches of a union, or symbols of an enum: below `count`."""
    raw = payload.bytes[at]
    _need(raw.max() < 2 * count and not (raw & 1).any())
    return raw >> 1, at + 1


def _spans(payload: _Payload, at: Longs) -> tuple[tuple[Longs, Longs], Longs]:
    """(start, end) of bytes."""
    first = payload.bytes[at]
    sizes: Any
    if first.max() < 0x80:
        sizes, starts = first, at + 1
    else:
        sizes, starts = _varints(payload, at)
    _need(not (sizes & 1).any())
    ends = starts + (sizes >> 1)
    return (starts, ends), ends


def _texts(payload: _Payload, at: Longs) -> tuple[tuple[Longs, Longs], Longs]:
    """(start, end) of a string, which is valid UTF-8."""
    (starts, ends), at = _spans(payload, at)
    _need(ends.max() <= payload.size)
    bounds = np.empty(2 * len(starts), np.int64)
    bounds[::2], bounds[1::2] = starts, ends
    for i in np.flatnonzero(np.bitwise_or.reduceat(payload.bytes, bounds)[::2] & 0x80):
        try:
            payload.raw[starts[i] : ends[i]].decode()
        except UnicodeDecodeError:
            raise _Mismatch from None
    return (starts, ends), at


def _doubles(payload: _Payload, at: Longs) -> tuple[Any, Longs]:
    return payload.words[at].view(np.float64), at + 8


def _over(read: Read) -> Step:
    return lambda payload, at: read(payload, at)[1]


def _fixed(size: int) -> Step:
    return lambda payload, at: at + size


_READS: dict[str, Read] = {
    "boolean": _booleans,
    "int": _ints,
    "long": _longs,
    "double": _doubles,
    "bytes": _spans,
    "string": _texts,
}
_STEPS: dict[str, Step] = {kind: _over(read) for kind, read in _READS.items()} | {
    "null": _fixed(0),
    "float": _fixed(4),
    "double": _fixed(8),
}


def _enum_read(symbols: Sequence[str]) -> Read:
    if len(symbols) > MAX_SYMBOLS:
        raise _NoScan(f"enum of {len(symbols)} symbols")
    return lambda payload, at: _indexes(payload, at, len(symbols))


def _record_step(steps: Sequence[Step]) -> Step:
    def step(payload: _Payload, at: Longs) -> Longs:
        for one in steps:
            at = one(payload, at)
        return at

    return step


def _union_step(branches: Sequence[Step]) -> Step:
    def step(payload: _Payload, at: Longs) -> Longs:
        chosen, at = _indexes(payload, at, len(branches))
        for index in np.flatnonzero(np.bincount(chosen)).tolist():
            here = np.flatnonzero(chosen == index)
            at[here] = branches[index](payload, at[here])
        return at

    return step


def _array_step(item: Step) -> Step:
    def step(payload: _Payload, at: Longs) -> Longs:
        at, open_, total = at.copy(), np.arange(len(at)), np.zeros(len(at), np.int64)
        while len(open_):
            counts, at[open_] = _longs(payload, at[open_])
            total[open_] += counts
            _need(counts.min() >= 0 and total.max() <= MAX_ITEMS)
            open_, counts = open_[counts > 0], counts[counts > 0]
            for i in range(counts.max(initial=0)):
                here = open_[counts > i]
                at[here] = item(payload, at[here])
        return at

    return step


def _step(schema: Any, types: dict[str, Step | None]) -> Step:
    """The step over a value of `schema`, as fastavro parses schemas; `types` are the named types so far, None while open."""
    if isinstance(schema, list):
        return _union_step([_step(branch, types) for branch in schema])
    if isinstance(schema, str):
        found = _STEPS.get(schema) or types.get(schema)
        if found is None:
            raise _NoScan(f"recursive {schema}")
        return found
    kind = schema["type"]
    if kind == "array":
        return _array_step(_step(schema["items"], types))
    if kind == "map":
        return _array_step(_record_step((_STEPS["string"], _step(schema["values"], types))))
    if kind not in ("record", "enum", "fixed"):
        return _step(kind, types)
    types[schema["name"]] = None
    if kind == "record":
        step = _record_step([_step(field["type"], types) for field in schema["fields"]])
    else:
        step = _over(_enum_read(schema["symbols"])) if kind == "enum" else _fixed(schema["size"])
    types[schema["name"]] = step
    return step


class FieldKind(NamedTuple):
    """What a field of a record holds.

    kind: a primitive's name, `enum`, or what Avro calls another complex type; null: index of null if it is a union of
    null and this, else None; symbols: of an enum.
    """

    kind: str
    null: int | None
    symbols: tuple[str, ...]


def kind_of(schema: Mapping[str, Any], field: str) -> FieldKind:
    """What the top-level `field` of a record schema holds."""
    named: dict[str, Any] = {}
    parsed = fastavro.parse_schema(dict(schema), named_schemas=named, _write_hint=False)
    (of_field,) = (f["type"] for f in parsed["fields"] if f["name"] == field)
    null = None
    if isinstance(of_field, list):
        if len(of_field) != 2 or "null" not in of_field:
            return FieldKind("union", None, ())
        null = of_field.index("null")
        of_field = of_field[1 - null]
    if isinstance(of_field, str):
        of_field = named.get(of_field, of_field)
    while isinstance(of_field, dict) and of_field["type"] not in ("record", "enum", "fixed", "array", "map"):
        of_field = of_field["type"]
    if isinstance(of_field, dict):
        return FieldKind(of_field["type"], null, tuple(of_field.get("symbols", ())))
    return FieldKind(of_field, null, ())


def _read(kind: FieldKind) -> Read:
    """Reads a field; a null is a mismatch."""
    if kind.kind != "enum" and kind.kind not in _READS:
        raise _NoScan(kind.kind)
    read = _enum_read(kind.symbols) if kind.kind == "enum" else _READS[kind.kind]
    if kind.null is None:
        return read
    tag = 2 * (1 - kind.null)

    def read_not_null(payload: _Payload, at: Longs) -> tuple[Any, Longs]:
        _need((payload.bytes[at] == tag).all())
        return read(payload, at + 1)

    return read_not_null


class ScannedFields(NamedTuple):
    """Of all records of a chunk: offsets, append times, and the columns by name: an array, or a list of strings or bytes."""

    offsets: Longs
    appended: Longs
    columns: dict[str, Any]


class FieldScan:
    """Reads `fields` of framed values, all of the same schema. Made by `compile_scan`."""

    def __init__(
        self, frame: bytes, fields: Sequence[tuple[str, FieldKind, Read] | Step], behind: Step, key: Step
    ) -> None:
        self._frame, self._fields, self._behind, self._key = frame, fields, behind, key

    def read(self, raw: bytes, count: int) -> ScannedFields | None:
        """The fields of the `count` records whose Avro encoding is `raw`, or None if they are not all of this form."""
        if count < MIN_RECORDS:
            return None
        payload = _Payload(raw)
        try:
            return self._scan(payload, count)
        except (_Mismatch, IndexError):
            return None

    def _scan(self, payload: _Payload, count: int) -> ScannedFields:
        frames = self._frames(payload, count)
        at, columns = frames + 5, []
        for field in self._fields:
            if isinstance(field, tuple):
                name, kind, read = field
                column, at = read(payload, at)
                columns.append((name, kind, column))
            else:
                at = field(payload, at)
        ends = at
        at = self._behind(payload, at)
        _need(at[-1] == payload.size)
        starts = np.concatenate((np.zeros(1, np.int64), at[:-1]))
        offsets, at = _longs(payload, starts)
        appended, at = _longs(payload, at)
        at = self._key(payload, at)
        _need((payload.bytes[at] == 2).all())  # there is a value
        (at, value_ends), _ = _spans(payload, at + 1)
        _need((at == frames).all() and (value_ends == ends).all() and (ends - at).max() <= MAX_BYTES + 5)
        read_columns = {name: _column(payload, kind, found) for name, kind, found in columns}
        return ScannedFields(offsets, appended, read_columns)

    def _frames(self, payload: _Payload, count: int) -> Longs:
        """Where the frames are: places with their bytes and, if these are too many, with a length before them."""
        behind = payload.bytes[:-4]
        found = behind == self._frame[0]
        for i in range(1, 5):
            found &= payload.bytes[i : len(behind) + i] == self._frame[i]
        frames = np.flatnonzero(found)
        if len(frames) > count:
            before = [payload.bytes[frames - i] for i in range(4)]
            tagged = before[1] < 0x80
            tagged &= (before[2] == 2) | (before[2] >= 0x80) & ((before[3] == 2) | (before[3] >= 0x80))
            frames = frames[tagged]
        _need(len(frames) == count)
        return frames


def _cut(raw: bytes, spans: tuple[Longs, Longs]) -> list[bytes]:
    starts, ends = spans
    return [raw[i:j] for i, j in zip(starts.tolist(), ends.tolist(), strict=True)]


def _column(payload: _Payload, kind: FieldKind, found: Any) -> Any:
    if kind.kind == "enum":
        return [kind.symbols[i] for i in found.tolist()]
    if kind.kind not in ("string", "bytes"):
        return found
    raw = payload.raw
    if kind.kind == "bytes":
        return _cut(raw, found)
    starts, ends = (bounds.tolist() for bounds in found)
    text = raw.decode("latin-1")  # right where all is ASCII, and one decoding for all
    texts = [text[i:j] for i, j in zip(starts, ends, strict=True)]
    if "".join(texts).isascii():
        return texts
    return [raw[i:j].decode() for i, j in zip(starts, ends, strict=True)]


def compile_scan(number: int, schema: Mapping[str, Any], fields: Collection[str]) -> FieldScan | None:
    """The scan of records whose values are framed with id `number`, or None where there is none for this schema."""
    types: dict[str, Step | None] = {}
    parsed = fastavro.parse_schema(dict(schema), _write_hint=False)
    steps: list[tuple[str, FieldKind, Read] | Step] = []
    try:
        for field in parsed["fields"]:
            name = field["name"]
            step = _step(field["type"], types)  # of the fields to read, too: they may define types
            if name in fields:
                kind = kind_of(schema, name)
                steps.append((name, kind, _read(kind)))
            else:
                steps.append(step)
    except _NoScan:
        return None
    types = {}
    record = fastavro.parse_schema(container_schema("rails.Record"), _write_hint=False)
    of_record = {field["name"]: _step(field["type"], types) for field in record["fields"]}
    return FieldScan(
        b"\x00" + number.to_bytes(4, "big"),
        steps,
        _record_step((of_record["origin"], of_record["headers"])),
        of_record["key"],
    )
