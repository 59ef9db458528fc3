"""The memory of payment ids: for how long, how exactly, how compactly, and as bytes."""

import sys
from hashlib import blake2b

import pytest

from payments.memory import Memory, MemoryCodec

KEEP = 4_000  # so a bucket is 1000 ms


def test_a_new_id_is_remembered_with_its_offset_and_body():
    memory = Memory(KEEP)
    assert memory.recall("p", b"body", 7, 0) is None
    assert memory.recall("p", b"body", 8, 0) == (7, True)
    assert memory.recall("p", b"other", 9, 0) == (7, False)
    assert memory.recall("q", b"body", 10, 0) is None
    assert memory.recall("q", b"body", 11, 0) == (10, True)
    assert len(memory) == 2


@pytest.mark.parametrize("first", [0, 1, 999, 1000, 1999])
def test_an_id_is_remembered_for_keep_ms_and_at_most_a_quarter_longer(first):
    def seen_after(ms: int) -> bool:
        memory = Memory(KEEP)
        memory.recall("p", b"", 0, first)
        return memory.recall("p", b"", 1, first + ms) is not None

    assert seen_after(0)
    assert seen_after(KEEP)
    assert not seen_after(KEEP + KEEP // 4 + 1)


def test_a_repeat_does_not_lengthen_the_memory():
    memory = Memory(KEEP)
    memory.recall("p", b"", 0, 0)
    for clock in range(500, KEEP + 1, 500):
        assert memory.recall("p", b"", 1, clock) == (0, True)
    assert memory.recall("p", b"", 2, 6_000) is None


def test_whole_buckets_are_dropped():
    memory = Memory(KEEP)
    for clock in range(0, 100_000, 100):
        memory.recall(f"p{clock}", b"", clock, clock)
        assert len(memory._buckets) <= 6
        assert len(memory) <= 60
    assert memory.recall("p99000", b"", 0, 99_999) == (99_000, True)


@pytest.mark.parametrize("count", [1, 8, 9, 1000, 5000])
def test_every_id_is_found_again_among_many(count):
    memory = Memory(KEEP)
    ids = [f"payment-{n}" for n in range(count)]
    for n, payment_id in enumerate(ids):
        assert memory.recall(payment_id, b"b%d" % n, n, n // 2) is None
    for n, payment_id in enumerate(ids):
        assert memory.recall(payment_id, b"b%d" % n, 0, count // 2) == (n, True)


def test_an_id_is_told_from_one_with_the_same_first_half():
    memory = Memory(KEEP)
    digest = blake2b(b"p", digest_size=16).digest()
    memory.recall("q", b"", 0, 0)
    (bucket,) = memory._buckets.values()
    bucket.put(digest[:8] + bytes(8) + bytes(16), int.from_bytes(digest[:8], "little"))
    assert memory.recall("p", b"body", 7, 0) is None
    assert memory.recall("p", b"body", 8, 0) == (7, True)


def test_snapshots_give_the_same_memory_and_the_same_bytes():
    memory, codec = Memory(KEEP), MemoryCodec(KEEP)
    for n in range(500):
        memory.recall(f"p{n}", b"%d" % n, n, n * 5)
    data = codec.encode(memory)
    assert len(data) == 500 * 32 + 3 * 16
    again = codec.decode(data)
    assert codec.encode(again) == data
    assert len(again) == 500
    assert again.keep_ms == KEEP
    for n in range(500):
        assert again.recall(f"p{n}", b"%d" % n, 0, 2_500) == (n, True)
    assert again.recall("new", b"", 3, 2_500) is None
    assert codec.encode(again) != data
    assert MemoryCodec(KEEP).encode(Memory(KEEP)) == b""


def test_an_id_takes_at_most_70_bytes():
    memory = Memory(86_700_000)
    for n in range(20_000):
        memory.recall(f"payment-{n}", b"", n, n * 4_000)
    held = sum(sys.getsizeof(b.entries) + sys.getsizeof(b.index) for b in memory._buckets.values())
    assert held / 20_000 <= 70


@pytest.mark.parametrize("keep", [0, -1])
def test_it_must_be_kept_for_some_time(keep):
    with pytest.raises(ValueError, match=f"keep_ms must be positive, got {keep}"):
        Memory(keep)


def test_the_shortest_memory_works():
    memory = Memory(1)
    assert memory.bucket_ms == 1
    assert memory.recall("p", b"", 0, 0) is None
    assert memory.recall("p", b"", 1, 1) == (0, True)
    assert memory.recall("p", b"", 2, 2) is None
