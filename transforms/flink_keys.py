"""Keys that Flink's hash puts where they are wanted: lanes of a stage land evenly on the subtasks, whatever their number.

Flink gives a key to one of `max_parallelism` key groups, murmur(hash of the key) modulo their number, and each subtask an equal range of
groups (KeyGroupRangeAssignment). Beam's runner makes the key of a splittable DoFn of the nested encoding of its element, and hashes it with
Guava's murmur3_128 (FlinkKey of 2.70; earlier ones with ByteBuffer.hashCode). A key is searched for, always the same, that falls into the
wanted range by both, so it does not matter which runner it is.
"""

from collections.abc import Iterator

_M32 = (1 << 32) - 1
_M64 = (1 << 64) - 1

MAX_PARALLELISM = 128  # Flink's, for a parallelism up to 85


def spread_keys(name: str, count: int, first: int = 0, max_parallelism: int = MAX_PARALLELISM) -> list[bytes]:
    """`count` keys, `name/number/salt`, whose key groups are evenly apart: with a parallelism of 1, 2 … `count` or more the subtasks
    differ by at most one key where it divides `count`, and no two keys meet on one where `count` divides it.

    `first` turns the circle by that many keys, for stages with fewer lanes than subtasks that should not all begin on the same one.
    """
    if count < 1 or first < 0 or max_parallelism < count:
        raise ValueError(
            f"count must be from 1 to {max_parallelism} (max_parallelism), first from 0, got {count}, {first}"
        )
    return [_search(name, number, (number + first) % count, count, max_parallelism) for number in range(count)]


def _search(name: str, number: int, place: int, count: int, groups: int) -> bytes:
    # The middle of the place's share of the groups.
    low, high = (2 * place + 1) * groups // (2 * count), 0
    width = groups // (4 * count)
    low, high = low - width, low + width
    for key in _candidates(name, number):
        if all(low <= group <= high for group in key_groups(key, groups)):
            return key
    raise AssertionError("unreachable")


def _candidates(name: str, number: int) -> Iterator[bytes]:
    salt = 0
    while True:
        yield f"{name}/{number}/{salt}".encode()
        salt += 1


def key_groups(key: bytes, groups: int = MAX_PARALLELISM) -> tuple[int, int]:
    """The key group of an element of type bytes, by the hash of the newer runners and by that of the older."""
    nested = _varint(len(key)) + key
    return murmur_int(murmur3_128_int(nested)) % groups, murmur_int(byte_buffer_hash(nested)) % groups


def subtask(group: int, parallelism: int, groups: int = MAX_PARALLELISM) -> int:
    """The subtask that has the key group."""
    return group * parallelism // groups


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def byte_buffer_hash(data: bytes) -> int:
    """java.nio.ByteBuffer.hashCode of all bytes, as unsigned."""
    h = 1
    for byte in reversed(data):
        h = (31 * h + (byte - 256 if byte > 127 else byte)) & _M32
    return h


def murmur_int(code: int) -> int:
    """Flink's MathUtils.murmurHash: MurmurHash3 (32 bits, seed 0) of one int, made positive."""
    code = code * 0xCC9E2D51 & _M32
    code = _rotate(code, 15, 32) * 0x1B873593 & _M32
    code = (_rotate(code, 13, 32) * 5 + 0xE6546B64) & _M32
    code ^= 4
    code = (code ^ code >> 16) * 0x85EBCA6B & _M32
    code = (code ^ code >> 13) * 0xC2B2AE35 & _M32
    code ^= code >> 16
    if code < 1 << 31:
        return code
    return (1 << 32) - code if code != 1 << 31 else 0


def _rotate(value: int, by: int, bits: int) -> int:
    return (value << by | value >> bits - by) & (1 << bits) - 1


def murmur3_128_int(data: bytes) -> int:
    """The low 32 bits of MurmurHash3 (x64, 128 bits, seed 0), as Guava's `asInt`, as unsigned."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = 0
    whole = len(data) & ~15
    for i in range(0, whole, 16):
        k1, k2 = int.from_bytes(data[i : i + 8], "little"), int.from_bytes(data[i + 8 : i + 16], "little")
        h1 ^= _rotate(k1 * c1 & _M64, 31, 64) * c2 & _M64
        h1 = ((_rotate(h1, 27, 64) + h2) * 5 + 0x52DCE729) & _M64
        h2 ^= _rotate(k2 * c2 & _M64, 33, 64) * c1 & _M64
        h2 = ((_rotate(h2, 31, 64) + h1) * 5 + 0x38495AB5) & _M64
    tail = data[whole:]
    h2 ^= _rotate(int.from_bytes(tail[8:], "little") * c2 & _M64, 33, 64) * c1 & _M64
    h1 ^= _rotate(int.from_bytes(tail[:8], "little") * c1 & _M64, 31, 64) * c2 & _M64
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & _M64
    h2 = (h2 + h1) & _M64
    h1, h2 = _mix(h1), _mix(h2)
    return (h1 + h2) & _M32


def _mix(k: int) -> int:
    k = (k ^ k >> 33) * 0xFF51AFD7ED558CCD & _M64
    k = (k ^ k >> 33) * 0xC4CEB9FE1A85EC53 & _M64
    return k ^ k >> 33
