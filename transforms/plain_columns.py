"""Lists of plain values as bytes, a column at a time: what `encode_plain` does value by value, at the speed of C where
the values are alike.

Integers of 64 bits, floats, strings and bytes go as arrays, tuples of one length as one column per place. What is
mixed, or anything else that is plain, goes value by value. `unpack_column(pack_column(values)) == values` with the same
types; equal lists give equal bytes.
"""

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from transforms.plain import decode_plain, encode_plain

_HEAD = struct.Struct("<cIQ")  # kind, values, bytes of the body


def pack_column(values: Sequence[Any]) -> bytes:
    """The bytes of a list of plain values; TypeError if one is not plain."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is int and min(values) >= -(2**63) and max(values) < 2**63:
            return _packed(b"i", values, np.array(values, "<i8").tobytes())
        if kind is float:
            return _packed(b"d", values, np.array(values, "<f8").tobytes())
        if kind is bytes:
            return _packed(b"b", values, _pieces(values))
        if kind is str:
            return _packed(b"s", values, _pieces([value.encode() for value in values]))
        if kind is type(None):
            return _packed(b"n", values, b"")
        if kind is tuple and len(values[0]) > 0 and len(set(map(len, values))) == 1:
            return _packed(b"t", values, b"".join(map(pack_column, zip(*values, strict=True))))
    return _packed(b"p", values, _pieces(list(map(encode_plain, values))))


def _packed(kind: bytes, values: Sequence[Any], body: bytes) -> bytes:
    return _HEAD.pack(kind, len(values), len(body)) + body


def _pieces(pieces: Sequence[bytes]) -> bytes:
    return np.fromiter(map(len, pieces), "<u4", len(pieces)).tobytes() + b"".join(pieces)


def unpack_column(data: bytes) -> list[Any]:
    """The values that `pack_column` wrote; ValueError for bytes that are not its own."""
    values, end = unpack_at(data, 0)
    if end != len(data):
        raise ValueError(f"not a column: {len(data)} bytes")
    return values


def unpack_at(data: bytes, start: int) -> tuple[list[Any], int]:
    """The values of the column that begins at `start`, and where it ends."""
    if len(data) < start + _HEAD.size:
        raise ValueError(f"not a column: {len(data) - start} bytes")
    kind, count, size = _HEAD.unpack_from(data, start)
    at = start + _HEAD.size
    end = at + size
    if kind == b"i":
        return np.frombuffer(data, "<i8", count, at).tolist(), end
    if kind == b"d":
        return np.frombuffer(data, "<f8", count, at).tolist(), end
    if kind == b"n":
        return [None] * count, end
    if kind == b"t":
        columns = []
        while at < end:
            column, at = unpack_at(data, at)
            columns.append(column)
        return list(zip(*columns, strict=True)), end
    if kind not in (b"b", b"s", b"p"):
        raise ValueError(f"not a column: kind {kind!r}")
    ends = accumulate(np.frombuffer(data, "<u4", count, at).tolist(), initial=at + 4 * count)
    pieces = [data[i:j] for i, j in pairwise(ends)]
    if kind == b"b":
        return pieces, end
    return list(map(bytes.decode if kind == b"s" else decode_plain, pieces)), end
