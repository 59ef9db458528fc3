"""Chunks: packing, splitting and joining keep every record; damage is a BadRecord; the coder is plain and deterministic."""

from itertools import combinations_with_replacement, pairwise

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import load_schema
from schemas.rails import RECORDS, Header, Origin, Position, Record, Source
from tests.avro_values import damaged, values, written_by_fastavro
from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from transforms.avro_schema import parse_schema
from transforms.chunks import (
    Chunk,
    ChunkCoder,
    DamagedChunk,
    decode_records,
    encode_record,
    first_offset,
    pack_chunk,
    pack_chunks,
    regroup_chunks,
    unpack_chunk,
)
from transforms.errors import BadRecord

SCHEMA = load_schema("rails.Record")
TYPE = parse_schema(SCHEMA)
ANY_RECORD = values(TYPE, RECORDS)


def record(offset: int, at: int = 5, value: bytes | None = b"v") -> Record:
    return Record(offset, at, b"k%d" % offset, value, None, ())


def log(count: int, times: list[int] | None = None) -> list[Record]:
    return [record(n, times[n] if times else 100 + n % 7) for n in range(count)]


FULL = Record(
    70_000,
    1_760_000_000_123,
    b"key",
    bytes(200),
    Origin(Source("stage", "topic", 300), 8192, 3, Position(8000, 200)),
    (Header("trace", b"\0\1"), Header("ü", b"")),
)


# --- the codec of records ---


@settings(max_examples=60)
@given(st.lists(ANY_RECORD, min_size=1, max_size=3), st.data())
def test_records_are_written_as_fastavro_writes_them_and_nothing_else_is_read(
    records: list[Record], data: st.DataObject
) -> None:
    payload = b"".join(map(encode_record, records))
    assert payload == b"".join(written_by_fastavro(SCHEMA, TYPE, r) for r in records)
    assert decode_records(payload, len(records)) == records
    bad = data.draw(damaged(payload))
    try:
        read = decode_records(bad, len(records))
    except BadRecord as error:
        assert error.detail == "chunk"
    else:
        assert b"".join(map(encode_record, read)) == bad


def test_every_cut_of_a_payload_is_noticed() -> None:
    payload = encode_record(FULL)
    assert decode_records(payload, 1) == [FULL]
    for end in range(len(payload)):
        with pytest.raises(BadRecord, match="TRUNCATED"):
            decode_records(payload[:end], 1)


def test_a_count_that_lies_is_noticed() -> None:
    chunk = pack_chunk("t", 0, log(3))
    for count, code in ((2, "TRAILING_BYTES"), (4, "TRUNCATED"), (0, "TRAILING_BYTES"), (-1, "TRAILING_BYTES")):
        with pytest.raises(DamagedChunk, match=code):
            unpack_chunk(chunk._replace(count=count))


def test_the_payload_is_not_bounded_as_a_message_is() -> None:
    large = record(0)._replace(value=bytes(2 << 20), headers=(Header("h", b""),) * 20_000)
    assert decode_records(encode_record(large), 1) == [large]


# --- packing ---


def test_packing_takes_the_first_offset_and_keeps_the_clock() -> None:
    chunk = pack_chunk("t", 3, log(10)[4:7], clock=9)
    assert chunk[:5] == ("t", 3, 4, 9, 3)
    assert unpack_chunk(chunk) == log(10)[4:7]
    assert first_offset(chunk) == 4
    assert pack_chunk("t", 3, [record(0)]).clock == -1


def test_a_chunk_needs_records() -> None:
    with pytest.raises(ValueError, match="t/3 needs records"):
        pack_chunk("t", 3, [])


def test_first_offsets_of_damaged_payloads() -> None:
    chunk = pack_chunk("t", 0, log(1))
    for payload, code in (
        (b"", "TRUNCATED"),
        (b"\x80", "TRUNCATED"),
        (b"\xff" * 20, "BAD_VARINT"),
        (b"\x80\0", "BAD_VARINT"),
    ):
        with pytest.raises(BadRecord, match=code):
            first_offset(chunk._replace(payload=payload))


def test_packing_a_partition_fills_the_clocks_in() -> None:
    chunks = list(pack_chunks("t", 1, log(7, [5, 9, 3, 4, 11, 2, 1]), 2))
    assert [(c.offset, c.count, c.clock) for c in chunks] == [(0, 2, -1), (2, 2, 9), (4, 2, 9), (6, 1, 11)]
    assert list(pack_chunks("t", 1, [])) == []


def test_a_full_last_chunk_is_the_last() -> None:
    assert [c.count for c in pack_chunks("t", 0, log(6), 3)] == [3, 3]
    assert [c.count for c in pack_chunks("t", 0, log(1001))] == [1000, 1]


# --- regrouping ---


@pytest.mark.parametrize("size", range(1, 7))
def test_regrouped_chunks_do_not_depend_on_how_they_came(size: int) -> None:
    """All ways to cut eight records into up to four chunks, some of them empty."""
    records = log(8, [5, 9, 3, 4, 11, 2, 1, 12])
    expected = list(pack_chunks("t", 2, records, size))
    for ends in combinations_with_replacement(range(9), 3):
        came, clock = [], -1
        for start, end in pairwise((0, *ends, 8)):
            part = records[start:end]
            came.append(pack_chunk("t", 2, part, clock) if part else Chunk("t", 2, start, clock, 0, b""))
            clock = max([clock, *(r.at for r in part)])
        assert list(regroup_chunks(came, size)) == expected, ends


def test_chunks_that_fit_are_passed_on_as_they_are() -> None:
    chunk = Chunk("t", 0, 0, -1, 5, b"never decoded")
    assert list(regroup_chunks([chunk], 5)) == [chunk]
    halves = [chunk, chunk._replace(offset=5)]
    assert list(regroup_chunks(halves, 10)) == [chunk._replace(count=10, payload=chunk.payload * 2)]


def test_a_damaged_chunk_that_must_be_split_is_noticed() -> None:
    with pytest.raises(DamagedChunk, match="t/0: damaged in offsets 0 to 4"):
        list(regroup_chunks([Chunk("t", 0, 0, -1, 5, b"damaged")], 3))


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_are_at_least_one(size: int) -> None:
    with pytest.raises(ValueError, match=f"got size {size}"):
        list(pack_chunks("t", 0, log(1), size))
    with pytest.raises(ValueError, match=f"got size {size}"):
        list(regroup_chunks([], size))


# --- the coder ---


@given(
    st.builds(
        Chunk,
        st.text(max_size=20),
        st.integers(0, 1 << 20),
        st.integers(0, 1 << 62),
        st.integers(-1, 1 << 62),
        st.integers(0, 1 << 30),
        st.binary(max_size=50),
    )
)
def test_the_coder_gives_back_the_chunk(chunk: Chunk) -> None:
    coder = ChunkCoder()
    assert coder.decode(coder.encode(chunk)) == chunk
    assert coder.encode(chunk) == ChunkCoder().encode(chunk)
    assert coder.is_deterministic()


def test_chunks_go_through_a_pipeline_unpickled(make_pipeline: MakePipeline) -> None:
    chunks = [pack_chunk(f"topic-{n}", n, [FULL]) for n in range(3)]
    pipeline = make_pipeline()
    with pipeline as p:
        keyed = (
            p
            | beam.Create([c.partition for c in chunks], reshuffle=False).with_output_types(int)
            | beam.Map(lambda n: (n, chunks[n])).with_output_types(tuple[int, Chunk])
            | beam.GroupByKey()
            | beam.FlatMap(lambda group: group[1]).with_output_types(Chunk)
        )
        assert_no_pickled_coders(pipeline)
        assert_that(keyed, equal_to(chunks))
