"""Headers: exact round trips, strict reading, ids that derive from the origin alone."""

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.rails import Header, Origin, Position, Source
from transforms.kafka_headers import (
    BadHeaders,
    HeaderWriter,
    Headings,
    decode_origin,
    decode_version,
    encode_origin,
    read_headers,
    source_bytes,
    trace_id,
)

SOURCE = Source("accounts", "nu3suNcORAi5YJAnRoxstg", 3)
ALL = Headings(trace=True, cloud_events=True)

names = st.text(min_size=1, max_size=20).filter(lambda text: "/" not in text)
numbers = st.integers(0, 2**63 - 1)
indexes = st.integers(0, 2**31 - 1)


@st.composite
def origins(draw: st.DrawFn) -> Origin:
    offset, index = draw(numbers), draw(indexes)
    prev = draw(st.none() | st.tuples(st.integers(0, offset), indexes).filter(lambda one: one < (offset, index)))
    source = Source(draw(names), draw(names), draw(st.integers(0, 100_000)))
    return Origin(source, offset, index, None if prev is None else Position(*prev))


@given(origins())
def test_an_origin_comes_back(origin: Origin) -> None:
    value = encode_origin(origin)
    assert decode_origin(value) == origin
    assert type(decode_origin(value).prev) is type(origin.prev)
    source, offset, index, prev = origin
    assert HeaderWriter(source, Headings(False)).of_output(offset, index, prev, 0, "", None) == [
        ("rails-origin", value)
    ]


@given(st.binary(max_size=60))
def test_anything_else_is_refused(value: bytes) -> None:
    try:
        origin = decode_origin(value)
    except BadHeaders:
        return
    assert encode_origin(origin) == value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"s/t/1/",
        b"s/t/1" + bytes(24),
        b"s/t/01/" + bytes(16) + b"\xff" * 8,
        b"s/t/+1/" + bytes(12) + b"\xff" * 12,
        b"s/t/1/2/" + bytes(12) + b"\xff" * 12,
        b"s//1/" + bytes(12) + b"\xff" * 12,
        b"\xff/t/1/" + bytes(12) + b"\xff" * 12,
        *(
            b"s/t/1/" + struct.pack(">qiqi", *place)
            for place in (
                (-1, 0, -1, -1),
                (5, -1, -1, -1),
                (5, 0, -1, 0),
                (5, 0, 4, -1),
                (5, 0, 5, 0),
                (5, -2, 4, 0),
                (5, 0, -2, -1),
            )
        ),
    ],
)
def test_malformed_origins(value: bytes) -> None:
    with pytest.raises(BadHeaders, match="rails-origin: "):
        decode_origin(value)


@pytest.mark.parametrize(
    "source",
    [Source("", "t", 0), Source("s", "", 0), Source("s/x", "t", 0), Source("s", "t/x", 0), Source("s", "t", -1)],
)
def test_sources_that_cannot_be_told_apart(source: Source) -> None:
    with pytest.raises(ValueError, match="without '/'"):
        source_bytes(source)


def test_many_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.kafka_headers._MAX_SOURCES", 3)
    for number in range(10):
        origin = Origin(Source("s", "t", number), 1, 0, None)
        assert decode_origin(encode_origin(origin)) == origin


class TestReading:
    ORIGIN = Origin(SOURCE, 7, 1, Position(6, 0))

    def test_none(self) -> None:
        assert read_headers(None) == read_headers([]) == (None, (), None)

    def test_of_a_stage(self) -> None:
        headers = HeaderWriter(SOURCE, ALL).of_output(7, 1, (6, 0), 1_760_000_000_000, "Leg", b"a" * 32)
        assert read_headers(headers) == (self.ORIGIN, (), b"a" * 32)
        assert read_headers(headers[:1]) == (self.ORIGIN, (), None)
        assert read_headers(headers[::-1]) == (self.ORIGIN, (), b"a" * 32)

    def test_of_a_client(self) -> None:
        trace = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
        assert read_headers([("x", b"1"), ("y", None), ("x", b"2"), ("traceparent", trace)]) == (
            None,
            (Header("x", b"1"), Header("y", b""), Header("x", b"2"), Header("traceparent", trace)),
            b"a" * 32,
        )

    def test_an_origin_proves_nothing_on_a_topic_of_clients(self) -> None:
        for value in (encode_origin(self.ORIGIN), b"nonsense"):
            assert read_headers([("rails-origin", value)], True) == (None, (Header("rails-origin", value),), None)

    @pytest.mark.parametrize(
        "headers",
        [
            [("rails-origin", None)],
            [("rails-origin", b"nonsense")],
            [("x", b""), ("rails-origin", None)],
            [("rails-origin", encode_origin(ORIGIN))] * 2,
        ],
    )
    def test_a_bad_origin_on_a_log_topic(self, headers: list[tuple[str, bytes | None]]) -> None:
        with pytest.raises(BadHeaders):
            read_headers(headers)

    def test_a_strange_trace_beside_an_origin_is_passed_over(self) -> None:
        headers = [("rails-origin", encode_origin(self.ORIGIN)), ("traceparent", b"x")]
        assert read_headers(headers) == (self.ORIGIN, (), None)

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01",
            b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01",
            b"00-" + b"a" * 32 + b"-" + b"0" * 16 + b"-01",
            b"01-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
            b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01-x",
        ],
    )
    def test_bad_traces_of_clients_are_none(self, value: bytes) -> None:
        assert trace_id(value) is None
        assert read_headers([("traceparent", value)])[2] is None


class TestTraces:
    def trace(self, source: Source, offset: int, index: int = 0, cause: bytes | None = None) -> tuple[bytes, bytes]:
        headers = dict(HeaderWriter(source, Headings()).of_output(offset, index, None, 0, "", cause))
        found = re.fullmatch(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-01", headers["traceparent"])
        assert found is not None and trace_id(headers["traceparent"]) == found[1]
        return found[1], found[2]

    def test_they_begin_at_the_first_cause(self) -> None:
        first = {self.trace(Source(stage, "t", 1), 5, index)[0] for stage in ("a", "b") for index in (0, 1)}
        assert len(first) == 1, "whichever stage reads a record first, its trace is the record's"
        others = {self.trace(Source("a", topic, n), offset)[0] for topic in "tu" for n in (1, 2) for offset in (5, 6)}
        assert len(others) == 8 and first <= others

    def test_they_go_on(self) -> None:
        assert self.trace(SOURCE, 5, 0, b"c" * 32)[0] == b"c" * 32

    def test_spans_differ(self) -> None:
        spans = {self.trace(Source(s, "t", 1), offset, n)[1] for s in "ab" for offset in range(9) for n in range(9)}
        assert len(spans) == 2 * 9 * 9

    def test_nothing_is_random(self) -> None:
        assert self.trace(SOURCE, 5, 1) == self.trace(SOURCE, 5, 1)


class TestCloudEvents:
    def test_of_an_output(self) -> None:
        headers = HeaderWriter(SOURCE, Headings(False, True)).of_output(7, 1, None, 1_760_000_000_123, "Leg", None)
        assert headers[1:] == [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"accounts/nu3suNcORAi5YJAnRoxstg/3/7.1"),
            ("ce_source", b"/accounts/nu3suNcORAi5YJAnRoxstg/3"),
            ("ce_type", b"Leg"),
            ("ce_time", b"2025-10-09T08:53:20.123Z"),
            ("content-type", b"avro/binary"),
        ]

    def test_of_upserts(self) -> None:
        writer = HeaderWriter(SOURCE, ALL)
        headers = dict(writer.of_upsert(7, 12, 1_760_000_000_123, "AccountBalance", b"c" * 32))
        assert decode_version(headers["rails-version"]) == 12
        assert headers["ce_id"].endswith(b"/7.v12") and headers["traceparent"][3:35] == b"c" * 32
        assert "rails-origin" not in headers
        assert [name for name, _ in HeaderWriter(SOURCE, Headings(False)).of_upsert(7, 12, 0, "", None)] == [
            "rails-version"
        ]
        with pytest.raises(BadHeaders, match="7 bytes"):
            decode_version(bytes(7))
