"""Packed entries, found by a 16-byte digest, in time buckets that are dropped whole: what a stage remembers for a time."""

import struct
from array import array
from typing import ClassVar, Self

DIGEST_BYTES = 16
_HEAD = struct.Struct("<qq")
_UPPER = 0xFFFFFFFF00000000
_LOWER = 0xFFFFFFFF
_SMALLEST = 16  # slots of an index


class Bucket:
    """The entries of one interval of the clock, no two with one digest, and an open hash index of them, at most half full.

    An entry is `size` bytes, the first 16 are its digest. A slot of the index holds 0, or the number of an entry, counted from 1, above it
    32 bits of its hash (the digest's first eight bytes): most other entries are told by those.
    """

    __slots__ = ("entries", "index", "mask", "size")

    def __init__(self, size: int, entries: bytearray) -> None:
        self.size, self.entries = size, entries
        slots = _SMALLEST
        while slots < len(entries) // size * 2 + 2:
            slots *= 2
        self._build(slots)

    def _build(self, slots: int) -> None:
        index, mask = array("Q", bytes(8 * slots)), slots - 1
        hashes = struct.Struct(f"<Q{self.size - 8}x")
        for number, (hashed,) in enumerate(hashes.iter_unpack(self.entries), 1):
            slot = hashed & mask
            while index[slot]:
                slot = slot + 1 & mask
            index[slot] = number | hashed & _UPPER
        self.index, self.mask = index, mask

    def put(self, entry: bytes, hashed: int) -> None:
        """Adds an entry, or puts it in the place of the one with its digest; `hashed` are the digest's first eight bytes."""
        entries, index, mask, size = self.entries, self.index, self.mask, self.size
        slot = hashed & mask
        while found := index[slot]:
            if (found ^ hashed) <= _LOWER:
                place = ((found & _LOWER) - 1) * size
                if entries.startswith(entry[:DIGEST_BYTES], place):
                    entries[place : place + size] = entry
                    return
            slot = slot + 1 & mask
        entries += entry
        number = len(entries) // size
        if number * 2 > mask:
            self._build(2 * len(index))
        else:
            index[slot] = number | hashed & _UPPER


class PackedMemory:
    """Buckets of entries, oldest first; a subclass says what an entry holds, and when one counts.

    An entry is kept for at least `keep_ms` of a clock that never falls, and at most `bucket_ms` longer. An index takes 16 to 32 bytes an
    entry. The longest pause is the doubling of a bucket's index.
    """

    __slots__ = ("_buckets", "bucket_ms", "keep_ms")

    ENTRY: ClassVar[struct.Struct]  # begins with the digest

    def __init__(self, keep_ms: int, bucket_ms: int) -> None:
        self.keep_ms, self.bucket_ms = keep_ms, bucket_ms
        self._buckets: dict[int, Bucket] = {}  # by number, oldest first

    def __len__(self) -> int:
        return sum(len(bucket.entries) // bucket.size for bucket in self._buckets.values())

    def bucket_at(self, clock: int) -> Bucket:
        """The bucket of what comes now. Where it is a new one, those are dropped whose newest entry may be forgotten."""
        number = clock // self.bucket_ms
        bucket = self._buckets.get(number)
        if bucket is None:
            for old in list(self._buckets):
                if (old + 1) * self.bucket_ms + self.keep_ms > clock:
                    break
                del self._buckets[old]
            bucket = self._buckets[number] = Bucket(self.ENTRY.size, bytearray())
        return bucket

    def find(self, digest: bytes, hashed: int) -> tuple[bytearray, int] | None:
        """The newest entry with this digest, as (entries of its bucket, place) until the next `put`; None if there is none."""
        for bucket in reversed(self._buckets.values()):
            index, mask = bucket.index, bucket.mask
            slot = hashed & mask
            while found := index[slot]:
                if (found ^ hashed) <= _LOWER:
                    entries, place = bucket.entries, ((found & _LOWER) - 1) * bucket.size
                    if entries.startswith(digest, place):
                        return entries, place
                slot = slot + 1 & mask
        return None

    def encode(self) -> bytes:
        """For snapshots: of each bucket its number and how many entries it has, then the entries. The indexes follow from them."""
        parts: list[bytes | bytearray] = []
        for number, bucket in self._buckets.items():
            parts += (_HEAD.pack(number, len(bucket.entries) // bucket.size), bucket.entries)
        return b"".join(parts)

    def load(self, data: bytes) -> Self:
        """Puts what `encode` wrote into this memory, a new one, and gives it."""
        size, i = self.ENTRY.size, 0
        while i < len(data):
            number, count = _HEAD.unpack_from(data, i)
            i += _HEAD.size
            self._buckets[number] = Bucket(size, bytearray(data[i : i + count * size]))
            i += count * size
        return self
