"""What admission remembers of payment ids: 16-byte digests in time buckets that are dropped whole."""

import struct
from hashlib import blake2b

from payments.packed import DIGEST_BYTES, PackedMemory

_ENTRY = struct.Struct("<16sQq")  # digest of the id, hash of the body, offset of the record


class Memory(PackedMemory):
    """Ids seen on one partition: id digest → (offset of the first record, hash of its body).

    An id is remembered for at least `keep_ms` of the clock, at most one bucket (a quarter) longer. Measured with CPython 3.11 at 100,000 to
    2,000,000 ids: 51 to 65 bytes an id in memory (a dict of digests has 154), 32 in a snapshot. A new id is looked for in at most six
    buckets, which costs twice as much as the dict did.
    """

    __slots__ = ()

    ENTRY = _ENTRY

    def __init__(self, keep_ms: int) -> None:
        if keep_ms < 1:
            raise ValueError(f"keep_ms must be positive, got {keep_ms}")
        super().__init__(keep_ms, max(1, keep_ms // 4))

    def recall(self, payment_id: str, body: bytes, offset: int, clock: int) -> tuple[int, bool] | None:
        """None for a new id, which is remembered from now on; else (offset of the first record, is the body the same)."""
        bucket = self.bucket_at(clock)
        digest = blake2b(payment_id.encode(), digest_size=DIGEST_BYTES).digest()
        content = int.from_bytes(blake2b(body, digest_size=8).digest(), "little")
        hashed = int.from_bytes(digest[:8], "little")
        found = self.find(digest, hashed)
        if found is not None:
            _, held_content, held_offset = _ENTRY.unpack_from(*found)
            return held_offset, held_content == content
        bucket.put(_ENTRY.pack(digest, content, offset), hashed)
        return None


class MemoryCodec:
    """Memory as bytes for snapshots."""

    def __init__(self, keep_ms: int) -> None:
        self.keep_ms = keep_ms

    def encode(self, memory: Memory) -> bytes:
        return memory.encode()

    def decode(self, data: bytes) -> Memory:
        return Memory(self.keep_ms).load(data)
