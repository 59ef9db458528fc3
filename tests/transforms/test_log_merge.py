"""Streams merged as bytes are the streams read, sorted and written again."""

import random

import pytest

from schemas.rails import Header, Origin, Position, Record, Source
from transforms.chunks import Chunk, DamagedChunk, pack_chunks, unpack_chunk
from transforms.log_merge import find_places, merge_streams


def streams(seed: int) -> list[Chunk]:
    """Log outputs of three shards and upserts of one, in chunks that come in any order."""
    rng = random.Random(seed)
    chunks: list[Chunk] = []
    for number in range(4):
        source, at, prev = Source("s" * (number + 1), "t", number), 100, None
        records = []
        for i in range(rng.randrange(30)):
            at += rng.choice((0, 0, 1, -1, 7))
            origin = None if number == 3 else Origin(source, i // 2, i % 2, prev)
            prev = Position(i // 2, i % 2)
            key = rng.choice((None, b"", b"a", b"b" * 70))
            records.append(Record(i, at, key, rng.choice((None, b"", b"v" * rng.randrange(200))), origin, ()))
        chunks += pack_chunks("t", 0, records, 7)
    rng.shuffle(chunks)
    return chunks


@pytest.mark.parametrize("seed", range(20))
def test_bytes_are_merged_as_records_are(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(merge_streams("out", 3, streams(seed), 10))
    monkeypatch.setattr("transforms.log_merge.find_places", None)
    assert found == list(merge_streams("out", 3, streams(seed), 10))
    records = [record for chunk in found for record in unpack_chunk(chunk)]
    assert [record.offset for record in records] == list(range(sum(chunk.count for chunk in streams(seed))))
    assert [record.at for record in records] == sorted(record.at for record in records)
    assert {chunk.count for chunk in found[:-1]} <= {10}


def test_headers_are_merged_too() -> None:
    records = [Record(i, 9 - i, b"k", b"v", None, (Header("h", b"x"),) * (i % 2)) for i in range(4)]
    (chunk,) = merge_streams("t", 0, pack_chunks("t", 0, records))
    assert unpack_chunk(chunk) == [r._replace(offset=i) for i, r in enumerate(records[::-1])]
    assert list(merge_streams("t", 0, [])) == []


@pytest.mark.parametrize("cut", [slice(None, -1), slice(1, None), slice(0, 0)])
def test_a_damaged_chunk_is_named(cut: slice) -> None:
    (chunk,) = pack_chunks("t", 0, [Record(i, 5, b"k", b"v", None, ()) for i in range(4)])
    with pytest.raises(DamagedChunk, match="t/0: damaged in offsets 0 to 3"):
        list(merge_streams("t", 0, [chunk._replace(payload=chunk.payload[cut])]))


@pytest.mark.skipif(find_places is None, reason="nothing is compiled")
def test_other_unions_than_null_and_bytes_are_damage() -> None:
    from transforms.chunks import ORIGINS

    assert find_places(b"\0\0\4", 1, ORIGINS.coder) is None
    assert find_places(b"\0\0\0\0\6", 1, ORIGINS.coder) is None
