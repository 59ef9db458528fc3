"""Records from anywhere as one file in the order of the log: the same bytes for any order and bundling."""

import random
from pathlib import Path

import apache_beam as beam
import fastavro
import pytest
from apache_beam.testing.util import assert_that, equal_to

from schemas.rails import Header, Origin, Position, Record, Source
from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from transforms.chunks import decode_records
from transforms.sorted_records import WriteSortedRecords

RECORDS = [
    Record(5, -3, b"k", b"v", None, ()),
    Record(9, 0, None, b"", None, (Header("h", b"x"),)),
    Record(2, 1, b"b", None, Origin(Source("s", "t", 1), 2, 3, Position(1, 0)), ()),
    Record(1, 300, b"a", b"1", None, ()),
    Record(7, 300, b"a", b"1", None, ()),
    Record(0, 300, b"a", b"2", None, ()),
    Record(0, 2**62, b"z", b"", None, ()),
]


def write(records: list[Record], path: Path, make_pipeline: MakePipeline, *flags: str) -> bytes:
    with make_pipeline(*flags) as p:
        found = p | beam.Create(records, reshuffle=False).with_output_types(Record) | WriteSortedRecords(str(path))
        assert_that(found, equal_to([(str(path), len(records))]))
    return path.read_bytes()


def read(path: Path) -> list[Record]:
    with open(path, "rb") as file:
        blocks = [(block.bytes_.getvalue(), block.num_records) for block in fastavro.block_reader(file)]
    return [record for data, count in blocks for record in decode_records(data, count)]


def test_records_stand_in_order_of_time_and_are_numbered(tmp_path: Path, make_pipeline: MakePipeline) -> None:
    mixed = RECORDS[::-1]
    write(mixed, tmp_path / "a.avro", make_pipeline)
    found = read(tmp_path / "a.avro")
    assert found == [record._replace(offset=number) for number, record in enumerate(RECORDS)]


def test_the_bytes_do_not_depend_on_order_or_workers(tmp_path: Path, make_pipeline: MakePipeline) -> None:
    draw = random.Random(3)
    records = [Record(0, draw.randrange(20), b"%d" % draw.randrange(9), b"%d" % n, None, ()) for n in range(300)]
    first = write(records, tmp_path / "1.avro", make_pipeline)
    draw.shuffle(records)
    assert write(records, tmp_path / "2.avro", make_pipeline, "--direct_num_workers=2") == first


def test_no_records_are_an_empty_file(tmp_path: Path, make_pipeline: MakePipeline) -> None:
    path = tmp_path / "none.avro"
    with make_pipeline() as p:
        none = p | beam.Create(RECORDS[:1]).with_output_types(Record) | beam.Filter(lambda _: False)
        assert_that(none | WriteSortedRecords(str(path)), equal_to([(str(path), 0)]))
    assert read(path) == []


def test_arguments_and_coders(tmp_path: Path, make_pipeline: MakePipeline) -> None:
    with pytest.raises(ValueError, match="not the path of a file"):
        WriteSortedRecords("")
    pipeline = make_pipeline()
    (
        pipeline
        | beam.Create(RECORDS, reshuffle=False).with_output_types(Record)
        | WriteSortedRecords(str(tmp_path / "a.avro"))
    )
    assert_no_pickled_coders(pipeline)
