"""Where Flink puts a key. The hashes against published values, the distribution against Flink's formula."""

from collections import Counter

import pytest

from transforms.flink_keys import byte_buffer_hash, key_groups, murmur3_128_int, murmur_int, spread_keys, subtask


def test_the_hashes() -> None:
    # Published test values of MurmurHash3 x64 128: the low 32 bits of the first half; the second has a whole block and a tail.
    assert murmur3_128_int(b"") == 0
    assert murmur3_128_int(b"hello") == 0x41BD9B02
    assert murmur3_128_int(b"The quick brown fox jumps over the lazy dog") == 0xBC071B6C
    # MurmurHash3 x86 32 of four bytes, seed 0: 0xFFFFFFFF → 0x76293B50, 0x87654321 (bytes 21 43 65 87) → 0xF55B516B.
    assert murmur_int(0xFFFFFFFF) == 0x76293B50
    assert murmur_int(0x87654321) == (1 << 32) - 0xF55B516B
    # Java: Arrays.hashCode does the same from the front.
    assert byte_buffer_hash(b"") == 1
    assert byte_buffer_hash(bytes([1, 2])) == (31 + 2) * 31 + 1
    assert byte_buffer_hash(bytes([255])) == 30


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("older", [False, True])
def test_they_are_even_for_any_parallelism(count: int, older: bool) -> None:
    groups = [key_groups(key)[older] for key in spread_keys("stage", count)]
    for parallelism in range(1, 17):
        counts = Counter(subtask(group, parallelism) for group in groups)
        if count % parallelism == 0:
            assert set(counts.values()) == {count // parallelism}
            assert len(counts) == parallelism
        if parallelism % count == 0:
            assert set(counts.values()) == {1}


def test_they_name_the_lane_and_are_always_the_same() -> None:
    keys = spread_keys("accounts", 4)
    assert keys == spread_keys("accounts", 4)
    assert [key.split(b"/")[:2] for key in keys] == [[b"accounts", str(n).encode()] for n in range(4)]


def test_the_first_can_stand_elsewhere() -> None:
    def places(first: int) -> list[int]:
        return [subtask(key_groups(key)[0], 2) for key in spread_keys("stage", 2, first)]

    assert places(0) == [0, 1] and places(1) == [1, 0] and places(2) == [0, 1]


def test_long_names() -> None:
    assert len(spread_keys("s" * 200, 2)) == 2


@pytest.mark.parametrize(("count", "first"), [(0, 0), (129, 0), (1, -1)])
def test_refusals(count: int, first: int) -> None:
    with pytest.raises(ValueError, match=f"got {count}, {first}"):
        spread_keys("s", count, first)
