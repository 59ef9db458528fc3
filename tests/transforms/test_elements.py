from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from schemas.rails import Header, Origin, Record, Source
from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from tests.window_model import Kept, Payment, chunks_of, record
from transforms.aggregates import Sum
from transforms.chunks import Chunk, unpack_chunk
from transforms.elements import ChunkElements, ElementRows, RecordCoder, UnpackChunks, _Pack
from transforms.errors import BadRecord
from transforms.plain import encode_plain
from transforms.windows import AggregateByWindow, Fixed

ELEMENTS = [("a", 1, 10), ("b", 5, 20), ("a", 2, 110), ("a", 4, 30)]  # key, value, time in ms


def timestamped(p: Any) -> Any:
    return (
        p
        | beam.Create(ELEMENTS, reshuffle=False).with_output_types(tuple[str, int, int])
        | beam.Map(lambda e: TimestampedValue((e[0], e[1]), e[2] / 1000)).with_output_types(tuple[str, int])
    )


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_elements_go_through_windows_as_chunks(make_pipeline: MakePipeline, size: int) -> None:
    kept = Kept()
    with make_pipeline() as p:
        out = timestamped(p) | ChunkElements(size=size) | AggregateByWindow(ElementRows(), Fixed(100), Sum())
        assert_no_pickled_coders(p)
        kept.keep(out)
    assert [(r.key, r.start, r.value) for r in kept.of("results")] == [("a", 0, 5), ("a", 100, 2), ("b", 0, 5)]
    assert kept.of("late") == kept.of("bad") == []


def test_elements_without_timestamps_are_not_late(make_pipeline: MakePipeline) -> None:
    kept = Kept()
    with make_pipeline() as p:
        pairs = p | beam.Create([("a", 1), ("a", 2)]).with_output_types(tuple[str, int])
        kept.keep(pairs | ChunkElements() | AggregateByWindow(ElementRows(), Fixed(100), Sum()))
    assert [r.value for r in kept.of("results")] == [3]
    assert kept.of("late") == []


def packed(at: Any = None, size: int = 1000) -> list[Any]:
    pack = _Pack(at, size)
    pack.start_bundle()
    out = []
    for key, value, time in ELEMENTS:
        out += pack.process((key, value), beam.utils.timestamp.Timestamp(micros=time * 1000))
    return [*out, *pack.finish_bundle()]


def test_a_chunk_is_stamped_with_its_smallest_time_and_holds_up_to_size() -> None:
    assert [(c.value.count, c.timestamp.micros) for c in packed()] == [(4, 10_000)]
    assert [(c.value.count, c.timestamp.micros) for c in packed(size=3)] == [(3, 10_000), (1, 30_000)]
    assert [(c.value.count, c.timestamp.micros) for c in packed(size=2)] == [(2, 10_000), (2, 30_000)]


def test_append_times_come_from_the_value_if_asked_for() -> None:
    assert [r.at for r in unpack_chunk(packed()[0].value)] == [-1] * 4
    (chunk,) = packed(at=lambda value: value * 100)
    assert [r.at for r in unpack_chunk(chunk.value)] == [100, 500, 200, 400]
    assert ElementRows().read(chunk.value).clocks.tolist() == [-1, 100, 500, 500]


@pytest.mark.parametrize("value", [None, b"", b"junk", encode_plain(5), encode_plain((1, 2)), encode_plain("abc")])
def test_what_is_no_element_is_bad(value: bytes | None) -> None:
    with pytest.raises(BadRecord, match="NOT_AN_ELEMENT"):
        ElementRows().row(Record(0, 0, None, value, None, ()))


def test_records_out_of_chunks(make_pipeline: MakePipeline) -> None:
    payments = [Payment("a", i, i, i) for i in range(7)]
    with make_pipeline() as p:
        records = p | beam.Create(chunks_of(payments, 3)).with_output_types(Chunk) | UnpackChunks()
        assert_that(records, equal_to([record(i, payment) for i, payment in enumerate(payments)]))


def test_a_record_comes_back_from_its_coder() -> None:
    one = Record(5, 6, b"k", None, Origin(Source("s", "t", 0), 3, 0, None), (Header("h", b"v"),))
    coder = RecordCoder()
    assert coder.decode(coder.encode(one)) == one
    assert coder.is_deterministic()


@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_a_wrong_size_is_named(size: Any) -> None:
    with pytest.raises(ValueError, match=f"ChunkElements: size must be a whole number of at least 1, got {size}"):
        ChunkElements(size=size)


def test_elements_must_be_in_the_global_window(make_pipeline: MakePipeline) -> None:
    with pytest.raises(ValueError, match="elements must be in the global window, not in"):
        _ = make_pipeline() | beam.Create([("a", 1)]) | beam.WindowInto(FixedWindows(5)) | ChunkElements()
