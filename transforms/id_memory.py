"""A memory of ids for a time: 16-byte digests in buckets of time, which are forgotten whole. No Beam here."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

DIGEST_BYTES = 16
MAX_MS = 100 * 366 * 86_400_000


def digest_of(event_id: bytes) -> bytes:
    """What is remembered of an id. Two ids among 10^15 share one with a chance of one in 10^8."""
    return blake2b(event_id, digest_size=DIGEST_BYTES).digest()


class IdMemory:
    """The ids of the last `ttl_ms` of a clock that never falls, each with the number that it was given when it came
    first.

    An id that came first at clock c is remembered exactly while `clock - c <= ttl_ms`, however often it comes in
    between, so what is a repeat does not depend on how buckets are cut. `bucket_ms` is how much is forgotten at a time:
    memory is held that much longer.
    """

    __slots__ = ("_buckets", "_ids", "bucket_ms", "ttl_ms")

    def __init__(self, ttl_ms: int, bucket_ms: int | None = None) -> None:
        if type(ttl_ms) is not int or not 1 <= ttl_ms <= MAX_MS:
            raise ValueError(f"IdMemory: ttl_ms must be whole milliseconds from 1 to {MAX_MS}, got {ttl_ms!r}")
        bucket_ms = max(1, ttl_ms // 16) if bucket_ms is None else bucket_ms
        if type(bucket_ms) is not int or not 1 <= bucket_ms <= ttl_ms:
            raise ValueError(f"IdMemory: bucket_ms must be whole milliseconds from 1 to ttl_ms, got {bucket_ms!r}")
        self.ttl_ms, self.bucket_ms = ttl_ms, bucket_ms
        self._ids: dict[bytes, tuple[int, int]] = {}  # digest -> (clock when it came first, number)
        self._buckets: dict[int, bytearray] = {}  # bucket number -> digests, one after another; oldest first

    def __len__(self) -> int:
        return len(self._ids)

    def recall(self, digest: bytes, number: int, clock: int) -> int | None:
        """The number of an id that is remembered at this clock; None for a new one, which is remembered with `number`
        from now on."""
        held = self._ids.get(digest)
        if held is not None and clock - held[0] <= self.ttl_ms:
            return held[1]
        self._forget(clock)
        self.put(digest, number, clock)
        return None

    def put(self, digest: bytes, number: int, clock: int) -> None:
        """Remembers an id."""
        self._ids[digest] = clock, number
        bucket = self._buckets.setdefault(clock // self.bucket_ms, bytearray())
        bucket += digest

    def _forget(self, clock: int) -> None:
        """Drops the buckets all of whose ids are too old; the clock never falls, so the oldest bucket is the first."""
        while self._buckets:
            number = next(iter(self._buckets))
            if (number + 1) * self.bucket_ms + self.ttl_ms > clock:
                return
            old = self._buckets.pop(number)
            for i in range(0, len(old), DIGEST_BYTES):
                digest = bytes(old[i : i + DIGEST_BYTES])
                held = self._ids.get(digest)
                if held is not None and held[0] // self.bucket_ms == number:  # else it came again later
                    del self._ids[digest]

    def entries(self) -> Iterator[tuple[bytes, int, int]]:
        """(digest, number, clock) of each id, for snapshots: in the order in which they came."""
        for bucket, digests in self._buckets.items():
            for i in range(0, len(digests), DIGEST_BYTES):
                digest = bytes(digests[i : i + DIGEST_BYTES])
                clock, number = self._ids[digest]
                if clock // self.bucket_ms == bucket:
                    yield digest, number, clock

    def put_all(self, entries: Iterable[tuple[bytes, int, int]]) -> None:
        """Remembers what `entries` gave, oldest first."""
        for entry in entries:
            self.put(*entry)
