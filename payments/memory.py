"""What admission remembers of payment ids: 16-byte digests in time buckets that are dropped whole."""

import struct
from hashlib import blake2b

_ENTRY = struct.Struct("<16sQq")
_HEAD = struct.Struct("<qq")


class Memory:
    """Ids seen on one partition: id digest → (offset of the first record, hash of its body).

    An id is remembered for at least `keep_ms` of the clock, at most one bucket longer. About 150 bytes an id in CPython.
    """

    __slots__ = ("_buckets", "_ids", "bucket_ms", "keep_ms")

    def __init__(self, keep_ms: int, bucket_ms: int) -> None:
        if keep_ms < 1 or bucket_ms < 1:
            raise ValueError(f"keep_ms and bucket_ms must be positive, got {keep_ms} and {bucket_ms}")
        self.keep_ms, self.bucket_ms = keep_ms, bucket_ms
        self._ids: dict[bytes, int] = {}  # digest → offset << 64 | body hash
        self._buckets: dict[int, bytearray] = {}  # bucket number → digests, one after another; oldest first

    def __len__(self) -> int:
        return len(self._ids)

    def recall(self, payment_id: str, body: bytes, offset: int, clock: int) -> tuple[int, bool] | None:
        """None for a new id, which is remembered from now on; else (offset of the first record, is the body the same)."""
        self._forget(clock)
        digest = blake2b(payment_id.encode(), digest_size=16).digest()
        content = int.from_bytes(blake2b(body, digest_size=8).digest(), "little")
        held = self._ids.get(digest)
        if held is not None:
            return held >> 64, held & 0xFFFFFFFFFFFFFFFF == content
        self._ids[digest] = offset << 64 | content
        number = clock // self.bucket_ms
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = bytearray()
        bucket += digest
        return None

    def _forget(self, clock: int) -> None:
        """Drops the buckets whose newest id may be forgotten; the clock never falls, so the oldest bucket is the first."""
        while self._buckets:
            number = next(iter(self._buckets))
            if (number + 1) * self.bucket_ms + self.keep_ms > clock:
                return
            old = self._buckets.pop(number)
            for i in range(0, len(old), 16):
                del self._ids[bytes(old[i : i + 16])]


class MemoryCodec:
    """Memory as bytes for snapshots: per bucket its number and size, then digest, body hash and offset of each id."""

    def __init__(self, keep_ms: int, bucket_ms: int) -> None:
        self.keep_ms, self.bucket_ms = keep_ms, bucket_ms

    def encode(self, memory: Memory) -> bytes:
        out = bytearray()
        for number, digests in memory._buckets.items():
            out += _HEAD.pack(number, len(digests) // 16)
            for i in range(0, len(digests), 16):
                digest = bytes(digests[i : i + 16])
                held = memory._ids[digest]
                out += _ENTRY.pack(digest, held & 0xFFFFFFFFFFFFFFFF, held >> 64)
        return bytes(out)

    def decode(self, data: bytes) -> Memory:
        memory = Memory(self.keep_ms, self.bucket_ms)
        i = 0
        while i < len(data):
            number, count = _HEAD.unpack_from(data, i)
            i += _HEAD.size
            bucket = memory._buckets[number] = bytearray()
            for _ in range(count):
                digest, content, offset = _ENTRY.unpack_from(data, i)
                i += _ENTRY.size
                bucket += digest
                memory._ids[digest] = offset << 64 | content
        return memory
