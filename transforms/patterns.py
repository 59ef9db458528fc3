"""The frame of a log record and the schema of its value as one regular expression, to read a few fields of a whole chunk in one call.

In Avro every field says by its first bytes where it ends: a long ends at the first byte below 0x80, a string of less than 64 bytes is one length byte
and that many more. Arrays, maps, recursive types and longer strings have no such expression; then there is no match, and the reader
decodes record by record instead. A match is exact: it covers the payload from end to end, and the declared length of each value is that of its fields.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Longs = npt.NDArray[np.int64]


def _short(n: int) -> bytes:
    """Avro's encoding of a number below 8192."""
    return bytes((2 * n,)) if n < 64 else bytes((2 * n & 0x7F | 0x80, n >> 6))


_LONG = rb"[\x80-\xff]*+[\x00-\x7f]"
_STRING = b"(?:%s)" % b"|".join(re.escape(bytes((2 * n,))) + b".{%d}" % n for n in range(64))
_PRIMITIVES = {
    "null": b"",
    "boolean": rb"[\x00\x01]",
    "int": _LONG,
    "long": _LONG,
    "float": b".{4}",
    "double": b".{8}",
    "bytes": _STRING,
    "string": _STRING,
}
_ORIGIN = b"(?:\x00|\x02" + _STRING + _STRING + _LONG * 3 + b"(?:\x00|\x02" + _LONG * 2 + b"))"
_SIZES = {_short(n): n for n in range(8192)}
_CAPTURED = ("int", "long", "string", "bytes")


class _NoPattern(Exception):
    """The schema has a type that no expression can skip."""


def kind_of(schema: Mapping[str, Any], field: str) -> str:
    """The type of a record's field: a primitive's name, or what Avro calls the complex one."""
    (of_field,) = (f["type"] for f in schema["fields"] if f["name"] == field)
    while isinstance(of_field, dict):
        of_field = of_field["type"]
    return "union" if isinstance(of_field, list) else str(of_field)


def _pattern(schema: Any, types: dict[str, Any]) -> bytes:
    """The expression that skips a value of `schema`; `types` are the named types so far, None while open."""
    if isinstance(schema, list):
        branches = (re.escape(_short(i)) + _pattern(branch, types) for i, branch in enumerate(schema))
        return b"(?:" + b"|".join(branches) + b")"
    if isinstance(schema, str):
        pattern = _PRIMITIVES.get(schema) or types.get(schema)
        if schema != "null" and pattern is None:
            raise _NoPattern(schema)
        return pattern or b""
    kind = schema["type"]
    if kind in ("array", "map"):
        raise _NoPattern(kind)
    if kind not in ("record", "enum", "fixed"):
        return _pattern(kind, types)
    if kind == "record":
        pattern = b"".join(_pattern(field["type"], types) for field in schema["fields"])
    else:
        pattern = _LONG if kind == "enum" else b".{%d}" % schema["size"]
    for name in (schema["name"], f"{schema.get('namespace', '')}.{schema['name']}"):
        types[name] = pattern
    return pattern


class ChunkFields(NamedTuple):
    """Append times of all records, and by name the captured fields: numbers as an array, strings and bytes as Avro has them (with their length)."""

    appended: Longs
    columns: dict[str, Any]


class ChunkPattern:
    """Reads `fields` of the framed values, all of schema `number`, of a chunk."""

    def __init__(self, pattern: bytes, captured: tuple[tuple[str, str], ...]) -> None:
        self._findall = re.compile(pattern, re.DOTALL).findall
        self._captured = captured

    def read(self, payload: bytes, count: int) -> ChunkFields | None:
        """The fields, or None if not all records match."""
        matches = self._findall(payload)
        if not matches or len(matches) != count:
            return None
        appended, sizes, values, *columns, rest = zip(*matches, strict=True)
        # A length that lies could hide records in a value: sizes are compared with what the fields took.
        if rest[-1] or list(map(_SIZES.get, sizes)) != list(map(len, values)):
            return None
        try:
            return ChunkFields(
                longs(appended),
                {name: _column(kind, raw) for (name, kind), raw in zip(self._captured, columns, strict=True)},
            )
        except ValueError:
            return None


def _column(kind: str, raw: tuple[bytes, ...]) -> Any:
    if kind in ("string", "bytes"):
        if kind == "string":
            b"".join(
                raw
            ).decode()  # all at once: the length bytes between them are ASCII. UnicodeDecodeError is a ValueError
        return raw
    numbers = longs(raw)
    if kind == "int" and (numbers.min() < -(2**31) or numbers.max() >= 2**31):
        raise ValueError("int out of range")
    return numbers


def longs(raw: Collection[bytes]) -> Longs:
    """The numbers that are encoded in `raw`; ValueError for one that may exceed 64 bits."""
    data = np.frombuffer(b"".join(raw), np.uint8)
    ends = np.flatnonzero(data < 0x80)
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    widest = int((ends - starts).max()) + 1
    if widest > 9:
        raise ValueError("long of more than 9 bytes")
    bits = (data & 0x7F).astype(np.int64)
    total = bits[ends]
    # From the last byte of each number to its first; where a number is shorter than the widest, its bytes are used up sooner.
    at = ends
    for _ in range(widest - 1):
        at = at - 1
        more = at >= starts
        total = np.where(more, total << 7 | bits[np.maximum(at, 0)], total)
    return (total >> 1) ^ -(total & 1)


def compile_pattern(number: int, schema: Mapping[str, Any], fields: Collection[str]) -> ChunkPattern | None:
    """The pattern of records whose values are framed with id `number`, or None where there is none for this schema."""
    captured = tuple((f["name"], kind_of(schema, f["name"])) for f in schema["fields"] if f["name"] in fields)
    if any(kind not in _CAPTURED for _, kind in captured):
        return None
    types: dict[str, Any] = {}
    body = []
    try:
        for field in schema["fields"]:
            pattern = _pattern(field["type"], types)
            body.append(b"(" + pattern + b")" if field["name"] in fields else pattern)
    except _NoPattern:
        return None
    record = (
        (_LONG + b"(" + _LONG + b")(?:\x00|\x02" + _STRING + b")\x02(" + _LONG + b")")
        + (b"(" + re.escape(b"\x00" + number.to_bytes(4, "big")) + b"".join(body) + b")")
        + (_ORIGIN + b"\x00")
    )
    return ChunkPattern(
        record + b"|(.++)", captured
    )  # what does not match is caught whole, so no match can start behind it
