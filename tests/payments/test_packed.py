"""Packed entries: every one is found again, whatever their hashes; the newest counts; whole buckets go; bytes say all."""

import random
import struct

import pytest

from payments.packed import Bucket, PackedMemory

KEEP, BUCKET = 4_000, 1_000


class Numbers(PackedMemory):
    __slots__ = ()

    ENTRY = struct.Struct("<16sq")


def numbers() -> Numbers:
    return Numbers(KEEP, BUCKET)


def digest(n: int) -> bytes:
    return random.Random(n).randbytes(16)


def hashed(of: bytes) -> int:
    return int.from_bytes(of[:8], "little")


def put(memory: Numbers, n: int, value: int, clock: int) -> None:
    memory.bucket_at(clock).put(Numbers.ENTRY.pack(digest(n), value), hashed(digest(n)))


def value_of(memory: Numbers, n: int) -> int | None:
    found = memory.find(digest(n), hashed(digest(n)))
    return None if found is None else Numbers.ENTRY.unpack_from(*found)[1]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000, 5000])
def test_every_entry_is_found_again_among_many(count):
    memory = numbers()
    for n in range(count):
        assert value_of(memory, n) is None
        put(memory, n, -n, n)
        assert value_of(memory, n) == -n
    assert [value_of(memory, n) for n in range(count)] == [-n for n in range(count)]


def test_entries_whose_hashes_collide_are_told_apart():
    bucket = Bucket(32, bytearray())
    entries = [bytes(8) + bytes([n]) * 8 + bytes(16) for n in range(40)]
    for entry in entries:
        bucket.put(entry, 0)
    assert bytes(bucket.entries) == b"".join(entries)
    assert sorted(n & 0xFFFFFFFF for n in bucket.index if n) == list(range(1, 41))
    assert Bucket(32, bucket.entries).index == bucket.index


def test_an_entry_takes_the_place_of_the_one_with_its_digest():
    bucket = Bucket(24, bytearray())
    for value in (1, 2):
        for n in range(40):  # the same upper half of the hash, so that only the digest tells them
            bucket.put(bytes(8) + bytes([n]) * 8 + bytes([value]) * 8, 0)
    assert bytes(bucket.entries) == b"".join(bytes(8) + bytes([n]) * 8 + bytes([2]) * 8 for n in range(40))


def test_an_entry_is_told_from_one_with_the_same_hash():
    memory = numbers()
    other = digest(1)[:8] + bytes(8)
    memory.bucket_at(0).put(Numbers.ENTRY.pack(other, 5), hashed(other))
    assert value_of(memory, 1) is None
    put(memory, 1, 7, 0)
    assert (value_of(memory, 1), len(memory)) == (7, 2)


def test_the_newest_bucket_counts():
    memory = numbers()
    put(memory, 1, 10, 0)
    put(memory, 1, 20, BUCKET)
    put(memory, 2, 30, 2 * BUCKET)
    assert (value_of(memory, 1), value_of(memory, 2), len(memory)) == (20, 30, 3)


def test_a_bucket_is_dropped_with_the_first_entry_behind_its_time():
    memory = numbers()
    put(memory, 1, 10, BUCKET - 1)
    put(memory, 2, 20, BUCKET + KEEP - 1)
    assert value_of(memory, 1) == 10
    put(memory, 3, 30, BUCKET + KEEP)
    assert (value_of(memory, 1), value_of(memory, 2), value_of(memory, 3)) == (None, 20, 30)


def test_a_bucket_from_a_snapshot_has_the_index_that_it_would_have_grown():
    grown = Bucket(32, bytearray())
    for n in range(70):
        grown.put(digest(n) + bytes(16), hashed(digest(n)))
        again = Bucket(32, bytearray(grown.entries))
        assert len(again.index) == len(grown.index)
        assert again.mask == grown.mask


def test_an_index_is_at_most_half_full_and_its_size_a_power_of_two():
    bucket = Bucket(32, bytearray())
    for n in range(1, 3000):
        bucket.put(digest(n) + bytes(16), hashed(digest(n)))
        size = len(bucket.index)
        assert size & (size - 1) == 0
        assert size == bucket.mask + 1
        assert n * 2 <= size <= max(16, n * 4 + 4)
        assert bucket.index[hashed(digest(n)) & bucket.mask]


def test_bytes_say_all():
    memory = numbers()
    for n in range(500):
        put(memory, n, n, n * 5)
    data = memory.encode()
    assert len(data) == 500 * 24 + 3 * 16
    again = numbers().load(data)
    assert again.encode() == data
    assert [value_of(again, n) for n in range(500)] == list(range(500))
    put(again, 500, 500, 2_600)
    assert memory.encode() == data, "nothing is shared with the bytes"
    assert numbers().load(b"").encode() == numbers().encode() == b""
