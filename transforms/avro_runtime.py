"""What the code of compiled codecs calls: tables, and the ways for what is long, rare or wrong.

Writers raise TypeError or ValueError for a value that the schema does not allow: that is a bug of ours. Readers raise BadRecord, or
IndexError and UnicodeDecodeError, which the generated code turns into BadRecord. Positions are indexes into the message.
"""

import struct
from typing import Any

from transforms.errors import BadRecord

# --- integers: zigzag, then seven bits to a byte, lowest first; the shortest form is the only one ---


def _varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


LONGS = [_varint(n << 1) for n in range(1 << 13)]  # encodings of the small integers
SMALL = len(LONGS)

# Of 14 bits at a time: as two bytes with more to come, and as the last one or two.
PAIRS = [bytes((n & 0x7F | 0x80, n >> 7 | 0x80)) for n in range(1 << 14)]
LAST = [_varint(n) for n in range(1 << 14)]


def enc_long(n: int) -> bytes:
    """Any integer of 64 bits."""
    if n.__class__ is not int:
        raise TypeError(f"expected an integer, got {type(n).__name__}")
    z = n << 1 if n >= 0 else ~(n << 1)
    if z < 1 << 14:
        return LAST[z]
    if z < 1 << 28:
        return PAIRS[z & 0x3FFF] + LAST[z >> 14]
    if z < 1 << 42:
        return PAIRS[z & 0x3FFF] + PAIRS[z >> 14 & 0x3FFF] + LAST[z >> 28]
    if z >> 64:
        raise ValueError("integer out of 64 bits")
    return _varint(z)


def enc_int(n: int) -> bytes:
    """Any integer of 32 bits."""
    if n.__class__ is int and not -(1 << 31) <= n < 1 << 31:
        raise ValueError("integer out of 32 bits")
    return enc_long(n)


# What a first byte says. Of an integer of one byte: the integer. Of the length of a string that is shorter than 64 bytes: how
# much to move on, over itself and the string; 0 for all others.
INTEGERS = [(n >> 1) ^ -(n & 1) for n in range(128)]
STEPS = [0 if n & 0x81 else 1 + (n >> 1) for n in range(256)]


def dec_long(b: bytes, i: int, bits: int = 64) -> tuple[int, int]:
    """The integer at `i` and the index behind it."""
    n, shift = 0, 0
    while True:
        x = b[i]
        i += 1
        n |= (x & 0x7F) << shift
        if x < 0x80:
            break
        shift += 7
        if shift > 63:
            raise BadRecord("BAD_VARINT")
    if (x == 0 and shift) or n >> bits:
        raise BadRecord("BAD_VARINT")
    return (n >> 1) ^ -(n & 1), i


def _times(shift: int, last: bool) -> list[int]:
    """Two bytes of a varint, read as a little-endian number → their part of a positive integer, negative if they are none."""
    table = [-1 << 62] * (1 << 16)
    for n in range(0, 1 << 14, 1 if shift else 2):
        first, second = n & 0x7F | 0x80, n >> 7 | (0 if last else 0x80)
        if not last or second:
            table[first | second << 8] = n << shift >> 1
    return table


# Times of our days (2004 to 2039) are integers of six bytes: three table look-ups, where a loop takes five times as long.
THREE_PAIRS = struct.Struct("<HHH").unpack_from
TIMES_LOW, TIMES_MIDDLE, TIMES_HIGH = _times(0, False), _times(14, False), _times(28, True)

# --- strings, bytes ---

_STRINGS: dict[str, bytes] = {}
_MAX_STRINGS = 1 << 16
KNOWN_STRING = _STRINGS.get


def enc_str(text: str) -> bytes:
    """Encodes a string and keeps it: ids, currencies and names come again soon, in other records of the same payment."""
    if type(text) is not str:
        raise TypeError(f"expected a string, got {type(text).__name__}")
    raw = text.encode()
    encoded = enc_long(len(raw)) + raw
    if len(raw) <= 64:
        if len(_STRINGS) >= _MAX_STRINGS:
            _STRINGS.clear()
        _STRINGS[text] = encoded
    return encoded


def enc_bytes(data: bytes) -> bytes:
    if type(data) is not bytes:
        raise TypeError(f"expected bytes, got {type(data).__name__}")
    return enc_long(len(data)) + data


def dec_length(b: bytes, i: int, end: int) -> tuple[int, int]:
    """The length at `i`, as (start, end) of what follows it."""
    n, i = dec_long(b, i)
    if n < 0:
        raise BadRecord("BAD_LENGTH")
    if i + n > end:
        raise BadRecord("TRUNCATED")
    return i, i + n


def dec_text(latin: str, i: int, end: int) -> str:
    """The string of UTF-8 bytes that were read as Latin-1; `i` is where it should end."""
    if i > end:
        raise BadRecord("TRUNCATED")
    return latin.encode("latin-1").decode()


# --- the other types ---


def enc_boolean(value: Any) -> bytes:
    raise TypeError(f"expected a boolean, got {type(value).__name__}")


def enc_null(value: Any) -> bytes:
    if value is not None:
        raise TypeError(f"expected None, got {type(value).__name__}")
    return b""


def enc_fixed(data: bytes, size: int) -> bytes:
    if type(data) is not bytes or len(data) != size:
        raise ValueError(f"expected {size} bytes")
    return data


_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")


def enc_float(value: float) -> bytes:
    if type(value) is not float:
        raise TypeError(f"expected a float, got {type(value).__name__}")
    try:
        return _FLOAT.pack(value)
    except OverflowError:
        raise ValueError("float out of 32 bits") from None


def enc_double(value: float) -> bytes:
    if type(value) is not float:
        raise TypeError(f"expected a float, got {type(value).__name__}")
    return _DOUBLE.pack(value)


def dec_float(b: bytes, i: int, end: int) -> float:
    if i + 4 > end:
        raise BadRecord("TRUNCATED")
    value: float = _FLOAT.unpack_from(b, i)[0]
    if value != value and _FLOAT.pack(value) != b[i : i + 4]:
        raise BadRecord("BAD_FLOAT")  # a signalling NaN, which a Python float cannot hold
    return value


def dec_double(b: bytes, i: int, end: int) -> float:
    if i + 8 > end:
        raise BadRecord("TRUNCATED")
    value: float = _DOUBLE.unpack_from(b, i)[0]
    return value


def dec_count(b: bytes, i: int, left: int) -> tuple[int, int]:
    """The number of items of an array or map that has some: one block, as all common writers write it, without its size."""
    n, i = dec_long(b, i)
    if n < 0:
        raise BadRecord("BAD_LENGTH")
    if n > left:
        raise BadRecord("TOO_MANY_ITEMS")
    return n, i


def dec_end(b: bytes, i: int) -> int:
    """The end of the items at `i`: a block of none. Gives the index behind it."""
    if b[i]:
        raise BadRecord("SECOND_BLOCK")
    return i + 1


def count_items(items: Any, left: int) -> int:
    """How many more items the message may have after these."""
    left -= len(items)
    if left < 0:
        raise ValueError("too many items")
    return left


def names() -> dict[str, Any]:
    """The globals of generated code: what is public here, and a way to build a NamedTuple without calling its constructor."""
    return {**{name: value for name, value in globals().items() if not name.startswith("_")}, "new": tuple.__new__}
