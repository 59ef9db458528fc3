"""Plain values as bytes: integers of any size, floats, strings, bytes, booleans, None, tuples and dicts of these.

The encoding is deterministic (equal values of the same types give equal bytes) and can hold nothing else, so that
accumulators and results travel without pickle.
"""

import struct
from typing import Any

from apache_beam import coders

_DOUBLE = struct.Struct(">d")


def _size(n: int) -> bytes:
    """`n` in base 128, lowest group first, as Avro does for lengths (without the sign)."""
    if n < 0x80:
        return bytes((n,))
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode_plain(value: Any) -> bytes:
    """The bytes of `value`; TypeError for anything that is not plain."""
    kind = type(value)
    if kind is int:
        raw: bytes = value.to_bytes((value.bit_length() >> 3) + 1, "big", signed=True)
        return b"i" + _size(len(raw)) + raw
    if kind is bytes:
        return b"".join((b"b", _size(len(value)), value))
    if kind is str:
        raw = str(value).encode()
        return b"s" + _size(len(raw)) + raw
    if kind is float:
        return b"d" + _DOUBLE.pack(value)
    if value is None:
        return b"n"
    if kind is bool:
        return b"T" if value else b"F"
    if isinstance(value, tuple):
        return b"t" + _size(len(value)) + b"".join(map(encode_plain, value))
    if kind is dict:
        return b"m" + _size(len(value)) + b"".join(encode_plain(k) + encode_plain(v) for k, v in value.items())
    raise TypeError(f"not a plain value: {kind.__name__}")


def decode_plain(data: bytes) -> Any:
    """The value that `encode_plain` wrote; ValueError for other bytes."""
    try:
        value, end = _decode(data, 0)
    except (IndexError, TypeError, UnicodeDecodeError, struct.error, RecursionError):  # TypeError: a dict as a key
        end = -1
    if end != len(data):
        raise ValueError(f"not the encoding of a plain value: {len(data)} bytes")
    return value


def _decode(data: bytes, i: int) -> tuple[Any, int]:
    tag = data[i]
    i += 1
    if tag == 0x6E:  # n
        return None, i
    if tag == 0x54:  # T
        return True, i
    if tag == 0x46:  # F
        return False, i
    if tag == 0x64:  # d
        return _DOUBLE.unpack_from(data, i)[0], i + 8
    n = shift = 0
    while data[i] >= 0x80:
        n |= (data[i] & 0x7F) << shift
        shift += 7
        i += 1
    n |= data[i] << shift
    i += 1
    if tag == 0x74:  # t
        items = []
        for _ in range(n):
            item, i = _decode(data, i)
            items.append(item)
        return tuple(items), i
    if tag == 0x6D:  # m
        pairs = {}
        for _ in range(n):
            key, i = _decode(data, i)
            pairs[key], i = _decode(data, i)
        return pairs, i
    raw = data[i : i + n]
    if tag == 0x69 and n:  # i
        return int.from_bytes(raw, "big", signed=True), i + n
    if tag == 0x62:  # b
        return raw, i + n
    if tag == 0x73:  # s
        return raw.decode(), i + n
    raise IndexError(tag)


class PlainTupleCoder(coders.Coder):
    """Coder of a NamedTuple class all of whose fields hold plain values. Each class has a subclass with `kind` set."""

    kind: type

    def encode(self, value: Any) -> bytes:
        return encode_plain(tuple(value))

    def decode(self, encoded: bytes) -> Any:
        return self.kind(*decode_plain(encoded))

    def is_deterministic(self) -> bool:
        return True
