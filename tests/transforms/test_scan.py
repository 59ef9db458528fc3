"""The scan of a chunk against the strict decoder: the same fields, or None, for any schema, record and damage."""

import io
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.rails import Header, Origin, Position, Record, Source
from transforms import scan
from transforms.avro import compile_projection
from transforms.chunks import decode_records, encode_record
from transforms.errors import BadRecord
from transforms.scan import MIN_RECORDS, FieldKind, compile_scan, kind_of

NUMBER = 900
FRAME = b"\x00\x00\x00\x03\x84"
ENUM = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN", "BLUE"]}
FIXED = {"type": "fixed", "name": "Hash", "size": 3}
INNER = {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "long"}, {"name": "b", "type": "string"}]}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
LONGS = st.integers(-100, 100) | st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=6) | st.just("x" * 70) | st.just("é" * 40)
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("long", LONGS),
    ("int", st.integers(-(2**31), 2**31 - 1)),
    ("string", TEXTS),
    ("bytes", st.binary(max_size=6) | st.just(FRAME)),
    ("boolean", st.booleans()),
    ("double", st.floats(allow_nan=False)),
    ("float", st.floats(width=32, allow_nan=False)),
    (ENUM, st.sampled_from(ENUM["symbols"])),
    (FIXED, st.binary(min_size=3, max_size=3)),
    (INNER, st.fixed_dictionaries({"a": LONGS, "b": TEXTS})),
    (["null", "string"], st.none() | TEXTS),
    (["long", "null"], st.none() | LONGS),
    (["null", "long", "string"], st.none() | LONGS | TEXTS),
    ({"type": "array", "items": "long"}, st.lists(LONGS, max_size=3)),
    ({"type": "map", "values": "string"}, st.dictionaries(TEXTS, TEXTS, max_size=2)),
    ({"type": "long", "logicalType": "time-micros"}, st.just(7)),
]
READABLE = ("long", "int", "string", "bytes", "boolean", "double", "enum")
ORIGINS = st.none() | st.builds(
    Origin,
    st.just(Source("stage", "topic", 3)),
    st.integers(0, 2**40),
    st.integers(0, 9),
    st.none() | st.builds(Position, st.integers(0, 2**40), st.integers(0, 9)),
)
HEADERS = st.lists(st.builds(Header, st.text(max_size=3), st.binary(max_size=3)), max_size=2).map(tuple)


def schema_of(*types: Any) -> dict[str, Any]:
    fields = [{"name": f"f{i}", "type": of_field} for i, of_field in enumerate(types)]
    return {"type": "record", "name": "Thing", "namespace": "test", "fields": fields}


def encode(schema: dict[str, Any], value: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return FRAME + out.getvalue()


def records(values: list[bytes | None], origins: list[Origin | None], headers: list[tuple[Header, ...]]) -> bytes:
    rows = [
        Record(
            1000 + i,
            1_760_000_000_000 - i,
            b"k" if i % 3 else None,
            value,
            origins[i % len(origins)],
            headers[i % len(headers)],
        )
        for i, value in enumerate(values)
    ]
    return b"".join(map(encode_record, rows))


def strict(schema: dict[str, Any], fields: list[str], raw: bytes, count: int) -> list[Any] | None:
    """What the strict decoder has of each record, None where it refuses one."""
    project = compile_projection(schema, fields)
    rows = []
    try:
        for record in decode_records(raw, count):
            if record.value is None or record.value[:5] != FRAME:
                return None
            rows.append((record.offset, record.at, *project(record.value[5:])))
    except BadRecord:
        return None
    return rows


def listed(found: scan.ScannedFields, fields: list[str]) -> list[Any]:
    columns = [c.tolist() if isinstance(c, np.ndarray) else c for c in (found.columns[name] for name in fields)]
    return list(zip(found.offsets.tolist(), found.appended.tolist(), *columns, strict=True))


@st.composite
def chunks(draw: st.DrawFn) -> tuple[dict[str, Any], list[str], bytes]:
    types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=5, unique_by=lambda t: str(t[0])))
    schema = schema_of(*(schema for schema, _ in types))
    names = [f["name"] for f in schema["fields"]]
    readable = [name for name in names if kind_of(schema, name).kind in READABLE]
    fields = draw(st.permutations(readable))[: draw(st.integers(0, 3))]
    value = st.fixed_dictionaries({name: of_field for name, (_, of_field) in zip(names, types, strict=True)})
    distinct = [encode(schema, v) for v in draw(st.lists(value, min_size=1, max_size=4))]
    values = [distinct[i % len(distinct)] for i in range(MIN_RECORDS)]
    origins = draw(st.lists(ORIGINS, min_size=1, max_size=2))
    return schema, fields, records(list(values), origins, draw(st.lists(HEADERS, min_size=1, max_size=2)))


@given(chunks())
@settings(max_examples=40)
def test_what_is_scanned_is_what_the_strict_decoder_reads(chunk: tuple[dict[str, Any], list[str], bytes]) -> None:
    schema, fields, raw = chunk
    found = compile_scan(NUMBER, schema, fields).read(raw, MIN_RECORDS)
    if found is not None:
        assert listed(found, fields) == strict(schema, fields, raw, MIN_RECORDS)


@given(chunks(), st.data())
@settings(max_examples=80)
def test_a_damaged_chunk_is_not_scanned_or_as_the_strict_decoder_reads_it(
    chunk: tuple[dict[str, Any], list[str], bytes], data: st.DataObject
) -> None:
    schema, fields, raw = chunk
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        change = data.draw(st.sampled_from(["set", "insert", "drop", "cut"]))
        byte = data.draw(st.sampled_from([0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF]))
        if change == "set":
            damaged[at] = byte
        elif change == "insert":
            damaged.insert(at, byte)
        elif change == "drop" and len(damaged) > 1:
            del damaged[at]
        elif change == "cut" and at:
            del damaged[at:]
    found = compile_scan(NUMBER, schema, fields).read(bytes(damaged), MIN_RECORDS)
    if found is not None:
        assert listed(found, fields) == strict(schema, fields, bytes(damaged), MIN_RECORDS)


PLAIN = schema_of("string", "long", MILLIS, ENUM, ["null", "long"], "double", "boolean", "bytes")
FIELDS = [f"f{i}" for i in range(8)]


def plain(i: int, **other: Any) -> dict[str, Any]:
    value = {"f0": f"é{i}", "f1": -i, "f2": 1_760_000_000_000 + i, "f3": ENUM["symbols"][i % 3], "f4": i}
    return value | {"f5": i / 2, "f6": i % 2 == 0, "f7": b"\xff" * i} | other


def test_all_kinds_that_can_be_read_are_read_from_an_ordinary_chunk() -> None:
    values = [encode(PLAIN, plain(i)) for i in range(100)]
    raw = records(list(values), [None, Origin(Source("s", "t", 1), 5, 0, None)], [(), (Header("h", b"v"),)])
    found = compile_scan(NUMBER, PLAIN, FIELDS).read(raw, 100)
    assert found is not None
    assert listed(found, FIELDS) == strict(PLAIN, FIELDS, raw, 100)
    assert found.columns["f0"][99] == "é99"
    assert found.columns["f1"].dtype == np.int64


def chunk_with(bad: bytes | None, of_schema: dict[str, Any] = PLAIN) -> bytes:
    values: list[bytes | None] = [encode(PLAIN, plain(i)) for i in range(MIN_RECORDS - 1)]
    return records([*values[:5], bad, *values[5:]], [None], [()])


GOOD = encode(PLAIN, plain(3))


@pytest.mark.parametrize(
    "bad",
    [
        None,
        b"",
        b"\x01" + GOOD[1:],
        b"\x00\x00\x00\x03\x85" + GOOD[5:],
        GOOD[:-1],
        GOOD + b"\x00",
        encode(PLAIN, plain(3, f4=None)),
        encode(PLAIN, plain(3, f1=2**60)),
        FRAME + b"\x02\xff" + GOOD[9:],
        FRAME + b"\x01" + GOOD[6:],
    ],
    ids=["tombstone", "empty", "frame", "schema", "short", "long", "null", "nine-bytes", "UTF-8", "negative-length"],
)
def test_one_record_that_is_not_so_is_enough(bad: bytes | None) -> None:
    compiled = compile_scan(NUMBER, PLAIN, FIELDS)
    assert compiled is not None
    assert compiled.read(chunk_with(GOOD), MIN_RECORDS) is not None
    assert compiled.read(chunk_with(bad), MIN_RECORDS) is None


@pytest.mark.parametrize(
    ("of_field", "raw"),
    [
        ("boolean", b"\x02"),
        ("int", b"\x80\x80\x80\x80\x10"),
        ("long", b"\x80\x00"),
        (ENUM, b"\x06"),
        (ENUM, b"\x01"),
        (["null", "long"], b"\x04"),
        ("string", b"\x04\xc3\x28"),
        ({"type": "array", "items": "null"}, b"\xfe\xff\xff\xff\xff\x7f\x00"),
        ({"type": "array", "items": "long"}, b"\x01\x02\x02\x00"),
    ],
    ids=str,
)
def test_fields_that_are_not_read_are_checked_too(of_field: Any, raw: bytes) -> None:
    """Refused by the strict decoder, and never seen by a scan of another field."""
    schema = schema_of(of_field, "long")
    with pytest.raises(BadRecord):
        compile_projection(schema, ["f1"])(raw + b"\x02")
    compiled = compile_scan(NUMBER, schema, ["f1"])
    assert compiled is not None
    assert compiled.read(records([FRAME + raw + b"\x02"] * MIN_RECORDS, [None], [()]), MIN_RECORDS) is None


@pytest.mark.parametrize("lie", [2, -2])
def test_a_length_that_lies_is_found(lie: int) -> None:
    schema = schema_of("long")
    raw = bytearray(records([encode(schema, {"f0": i}) for i in range(MIN_RECORDS)], [None], [()]))
    compiled = compile_scan(NUMBER, schema, ["f0"])
    assert compiled is not None
    assert compiled.read(bytes(raw), MIN_RECORDS) is not None
    raw[raw.index(FRAME) - 1] += lie
    assert strict(schema, ["f0"], bytes(raw), MIN_RECORDS) is None
    assert compiled.read(bytes(raw), MIN_RECORDS) is None


def test_a_value_hides_no_record() -> None:
    """All frames are there, but half of them in values that hold themselves and the record behind."""
    schema = schema_of("bytes")
    inner = records([encode(schema, {"f0": b"ab"})], [None], [()])
    liar = FRAME + bytes([2 * (len(inner) + 2)]) + b"ab" + inner
    raw = records([liar] * (MIN_RECORDS // 2), [None], [()])
    assert raw.count(FRAME) == MIN_RECORDS
    compiled = compile_scan(NUMBER, schema, ["f0"])
    assert compiled is not None
    assert compiled.read(raw, MIN_RECORDS) is None


def test_frames_inside_values_are_told_from_frames() -> None:
    schema = schema_of("bytes", "long")
    values = [encode(schema, {"f0": b"ab" + FRAME, "f1": i}) for i in range(MIN_RECORDS)]
    found = compile_scan(NUMBER, schema, ["f1"]).read(records(list(values), [None], [()]), MIN_RECORDS)
    assert found is not None
    assert found.columns["f1"].tolist() == list(range(MIN_RECORDS))


def test_long_values_are_read_and_too_long_ones_are_not() -> None:
    schema = schema_of("bytes")
    for size, fine in ((100, True), (9_000, True), (1 << 20, False)):
        raw = records([encode(schema, {"f0": bytes([7]) * size})] * MIN_RECORDS, [None], [()])
        found = compile_scan(NUMBER, schema, ["f0"]).read(raw, MIN_RECORDS)
        assert (found is not None) == fine, size


def test_few_records_are_not_worth_it() -> None:
    raw = records([GOOD] * (MIN_RECORDS - 1), [None], [()])
    assert compile_scan(NUMBER, PLAIN, FIELDS).read(raw, MIN_RECORDS - 1) is None


RECURSIVE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
MANY = {"type": "enum", "name": "Many", "symbols": [f"S{i}" for i in range(65)]}


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (schema_of(RECURSIVE, "long"), ["f1"]),
        (schema_of(MANY), []),
        (schema_of("float"), ["f0"]),
        (schema_of(INNER), ["f0"]),
    ],
    ids=["recursive", "enum of two bytes", "float", "record"],
)
def test_schemas_without_a_scan(schema: dict[str, Any], fields: list[str]) -> None:
    assert compile_scan(NUMBER, schema, fields) is None


def test_a_named_type_may_be_used_again() -> None:
    schema = schema_of(INNER, "test.Inner", ENUM, ["null", "test.Colour"])
    value = {"f0": {"a": 1, "b": "x"}, "f1": {"a": 2, "b": "y"}, "f2": "RED", "f3": "BLUE"}
    found = compile_scan(NUMBER, schema, ["f3"]).read(records([encode(schema, value)] * 40, [None], [()]), 40)
    assert found is not None
    assert found.columns["f3"] == ["BLUE"] * 40


@pytest.mark.parametrize(
    ("of_field", "kind"),
    [
        ("long", FieldKind("long", None, ())),
        (MILLIS, FieldKind("long", None, ())),
        ([MILLIS, "null"], FieldKind("long", 1, ())),
        (["null", ENUM], FieldKind("enum", 0, ("RED", "GREEN", "BLUE"))),
        (["null", "long", "string"], FieldKind("union", None, ())),
        (["long", "string"], FieldKind("union", None, ())),
        ({"type": "map", "values": "long"}, FieldKind("map", None, ())),
        (INNER, FieldKind("record", None, ())),
    ],
    ids=str,
)
def test_kinds_of_fields(of_field: Any, kind: FieldKind) -> None:
    assert kind_of(schema_of(of_field), "f0") == kind
