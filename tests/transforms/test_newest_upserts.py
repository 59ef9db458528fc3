"""A topic of upserts as its newest versions."""

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from schemas.rails import Header, Record
from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from transforms.chunks import Chunk, pack_chunk, unpack_chunk
from transforms.kafka_headers import BadHeaders
from transforms.newest_upserts import KeepNewestUpserts, newest_upserts


def upsert(offset: int, key: bytes, version: int, at: int = 0) -> Record:
    header = Header("rails-version", version.to_bytes(8, "big"))
    return Record(offset, at, key, b"%d" % version, None, (header, Header("traceparent", b"x")))


def test_the_highest_version_stays_in_its_place_whatever_stands_last() -> None:
    records = [upsert(0, b"a", 1), upsert(2, b"b", 7), upsert(5, b"a", 3), upsert(9, b"b", 6), upsert(10, b"a", 3)]
    assert newest_upserts(records) == [Record(0, 0, b"b", b"7", None, ()), Record(1, 0, b"a", b"3", None, ())]
    assert newest_upserts([]) == []


def test_a_record_without_version_is_refused() -> None:
    with pytest.raises(BadHeaders, match="rails-version"):
        newest_upserts([Record(0, 0, b"a", b"1", None, ())])


def test_each_partition_on_its_own_from_chunks_in_any_order(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    chunks = [
        pack_chunk("t", 1, [upsert(7, b"a", 4, 90)]),
        pack_chunk("t", 0, [upsert(3, b"a", 1, 50), upsert(4, b"b", 1, 40)]),
        pack_chunk("t", 1, [upsert(2, b"a", 2), upsert(3, b"c", 1, 70)]),
    ]

    def told(chunk: Chunk) -> str:
        return f"{chunk.topic}/{chunk.partition}/{chunk.offset} {[(r.offset, r.key, r.value) for r in unpack_chunk(chunk)]}"

    with make_pipeline() as p:
        kept = p | beam.Create(chunks).with_output_types(Chunk) | KeepNewestUpserts()
        assert_that(
            kept | beam.Map(told).with_output_types(str),
            equal_to(["t/0/0 [(0, b'a', b'1'), (1, b'b', b'1')]", "t/1/0 [(0, b'c', b'1'), (1, b'a', b'4')]"]),
        )
    pipeline = beam.Pipeline()
    _ = pipeline | beam.Create(chunks, reshuffle=False).with_output_types(Chunk) | KeepNewestUpserts()
    assert_no_pickled_coders(pipeline)
