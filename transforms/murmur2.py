"""Kafka's default partitioner: murmur2 of the key, as the Java client computes it."""

import struct
from functools import lru_cache

try:
    import transforms.murmur2_native as _native
except ImportError:  # not compiled here
    _native = None

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """The 32-bit murmur2 hash with Kafka's seed, unsigned."""
    length = len(key)
    h = 0x9747B28C ^ length
    words = length >> 2
    for k in struct.unpack_from(f"<{words}I", key):
        k = k * _M & _MASK
        h = (h * _M & _MASK) ^ ((k ^ k >> 24) * _M & _MASK)
    tail = key[words << 2 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


# An id goes through several topics in a short time; the cache spares hashing it for each.
@lru_cache(maxsize=1 << 17)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition in which Kafka's default partitioner puts `key` on a topic of that many partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


if _native is not None:
    murmur2, partition_of = _native.murmur2, _native.partition_of
