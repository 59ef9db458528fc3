"""Codecs: parity with fastavro, strictness, bounds. fastavro is the reference for what is right, and for nothing that is wrong."""

import struct
from collections import namedtuple
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import auctions, load_schema, payments, rails
from schemas.generate import FOLDER
from tests.avro_values import damaged, record_schemas, record_types, values, written_by_fastavro
from transforms.avro import MAX_DEPTH, MAX_ITEMS, Codec, compile_codec, compile_projection, compile_reader
from transforms.avro_runtime import LONGS, enc_int, enc_long, enc_str
from transforms.avro_schema import Record, parse_schema
from transforms.errors import BadRecord

RECORDS = {**rails.RECORDS, **payments.RECORDS, **auctions.RECORDS}
NAMES = sorted(f"{path.parent.name}.{path.stem}" for path in FOLDER.glob("*/*.avsc"))
TIME = {"type": "long", "logicalType": "timestamp-millis"}


def codec_of(kind: Any, **bounds: int) -> Codec:
    """The codec of a schema without records."""
    return compile_codec(kind, {}, **bounds)


def code(codec: Codec, data: bytes) -> str:
    """The error code that decoding ends with."""
    with pytest.raises(BadRecord) as caught:
        codec.decode(data)
    return caught.value.code


# --- parity, and the one property that says strict ---


@pytest.mark.parametrize("name", NAMES)
def test_our_schemas_are_written_as_fastavro_writes_them_and_nothing_else_is_read(name: str) -> None:
    schema = load_schema(name)
    of = parse_schema(schema)
    codec = compile_codec(schema, RECORDS)

    @settings(max_examples=15)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        value = data.draw(values(of, RECORDS))
        encoded = codec.encode(value)
        assert encoded == written_by_fastavro(schema, of, value)
        assert codec.decode(encoded) == value
        assert codec.decode(b"frame" + encoded, 5) == value
        check_damaged(codec, data.draw(damaged(encoded)))

    check()


def check_damaged(codec: Codec, data: bytes) -> None:
    """Bytes are refused as a BadRecord, or they are what the codec itself writes."""
    try:
        value = codec.decode(data)
    except BadRecord as error:
        assert error.code
        return
    assert codec.encode(value) == data


@settings(max_examples=80)
@given(st.data())
def test_any_schema_is_written_as_fastavro_writes_it_and_nothing_else_is_read(data: st.DataObject) -> None:
    schema = data.draw(record_schemas())
    of = parse_schema(schema)
    types = record_types(of)
    codec = compile_codec(schema, types)
    project = compile_projection(schema, tuple(of.fields)[::-1])
    read = compile_reader(schema, types)
    for _ in range(2):
        value = data.draw(values(of, types))
        encoded = codec.encode(value)
        assert encoded == written_by_fastavro(schema, of, value)
        assert codec.decode(encoded) == value
        assert project(encoded) == tuple(value)[::-1]
        assert read(encoded * 3, 3) == [value] * 3
        for _ in range(3):
            bad = data.draw(damaged(encoded))
            check_damaged(codec, bad)
            for reader in (project, lambda b: read(b, 1)):
                assert refused(reader, bad) == refused(codec.decode, bad)


def refused(decode: Any, data: bytes) -> str | None:
    try:
        decode(data)
    except BadRecord as error:
        return error.code
    return None


@settings(max_examples=200)
@given(st.binary(max_size=40))
@example(b"")
def test_random_bytes_are_refused_or_canonical(data: bytes) -> None:
    for name in ("payments.PaymentInitiated", "rails.Rule", "payments.LedgerLeg"):
        check_damaged(CODECS[name], data)


CODECS = {name: compile_codec(load_schema(name), RECORDS) for name in NAMES}


@given(st.binary(min_size=8, max_size=8))
@example(struct.pack("<II", 0x7FA00000, 1))  # a signalling NaN
@example(struct.pack("<II", 0x7FC00000, 0x7FF80000))
@example(struct.pack("<d", float("nan")))
def test_floats_of_any_bits_are_refused_or_canonical(data: bytes) -> None:
    check_damaged(codec_of("double"), data)
    check_damaged(codec_of("float"), data[:4])


# --- one by one ---

BAD = [
    ("empty", "long", b"", "TRUNCATED"),
    ("zero in two bytes", "long", b"\x80\x00", "BAD_VARINT"),
    ("one in two bytes", "long", b"\x82\x00", "BAD_VARINT"),
    ("two bytes in three", "long", b"\x82\x81\x00", "BAD_VARINT"),
    ("three bytes in four", "long", b"\x82\x81\x81\x00", "BAD_VARINT"),
    ("cut after one byte", "long", b"\x82", "TRUNCATED"),
    ("cut after two", "long", b"\x82\x82", "TRUNCATED"),
    ("cut after three", "long", b"\x82\x82\x82", "TRUNCATED"),
    ("zero in two bytes, and more behind it", "long", b"\x80\x00\x01", "BAD_VARINT"),
    ("65 bits", "long", b"\xff" * 9 + b"\x02", "BAD_VARINT"),
    ("ten bytes, non-shortest", "long", b"\xff" * 9 + b"\x00", "BAD_VARINT"),
    ("eleven bytes", "long", b"\xff" * 10 + b"\x01", "BAD_VARINT"),
    ("endless", "long", b"\xff" * 1000, "BAD_VARINT"),
    ("33 bits in an int", "int", b"\x80\x80\x80\x80\x10", "BAD_VARINT"),
    ("64 bits in an int", "int", b"\xff" * 9 + b"\x01", "BAD_VARINT"),
    ("non-shortest int", "int", b"\x80\x00", "BAD_VARINT"),
    ("time in six bytes that needs five", TIME, b"\x80\x80\x80\x80\x80\x00", "BAD_VARINT"),
    ("time cut after five bytes", TIME, b"\x80\x89\xf7\xd9\xb8", "TRUNCATED"),
    ("no time", TIME, b"", "TRUNCATED"),
    ("byte behind a time", TIME, b"\x80\x89\xf7\xd9\xb8f\x00", "TRAILING_BYTES"),
    ("byte behind a short time", TIME, b"\x00" + b"\x80" * 6, "TRAILING_BYTES"),
    ("boolean of two", "boolean", b"\x02", "BAD_BOOLEAN"),
    ("boolean of 255", "boolean", b"\xff", "BAD_BOOLEAN"),
    ("no boolean", "boolean", b"", "TRUNCATED"),
    ("short float", "float", b"\0" * 3, "TRUNCATED"),
    ("long float", "float", b"\0" * 5, "TRAILING_BYTES"),
    ("signalling NaN", "float", b"\x01\x00\xa0\x7f", "BAD_FLOAT"),
    ("short double", "double", b"\0" * 7, "TRUNCATED"),
    ("short fixed", {"type": "fixed", "name": "F", "size": 4}, b"abc", "TRUNCATED"),
    ("negative length", "bytes", b"\x01", "BAD_LENGTH"),
    ("negative length, two bytes", "string", b"\x81\x01", "BAD_LENGTH"),
    ("length beyond the end", "bytes", b"\x06ab", "TRUNCATED"),
    ("length beyond the end, two bytes", "string", b"\x80\x01" + b"a" * 63, "TRUNCATED"),
    ("length of 2^62", "string", b"\xfe" + b"\xff" * 8 + b"\x00" + b"a", "BAD_VARINT"),
    ("huge length", "bytes", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" + b"a", "TRUNCATED"),
    ("non-shortest length", "string", b"\x82\x00a", "BAD_VARINT"),
    ("cut in a letter", "string", b"\x04\xc3", "TRUNCATED"),
    ("cut UTF-8", "string", b"\x02\xc3", "BAD_UTF8"),
    ("overlong UTF-8", "string", b"\x04\xc0\xaf", "BAD_UTF8"),
    ("a surrogate", "string", b"\x06\xed\xa0\x80", "BAD_UTF8"),
    ("negative enum index", {"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x01", "BAD_INDEX"),
    ("enum index too large", {"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x04", "BAD_INDEX"),
    ("enum index in two bytes", {"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x82\x00", "BAD_INDEX"),
    ("no enum index", {"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"", "TRUNCATED"),
    ("negative union index", ["null", "long"], b"\x01", "BAD_INDEX"),
    ("union index too large", ["null", "long"], b"\x04", "BAD_INDEX"),
    ("union index in two bytes", ["null", "long"], b"\x80\x00", "BAD_INDEX"),
    ("union without value", ["null", "long"], b"\x02", "TRUNCATED"),
    ("third branch of a union", ["null", "long", "string"], b"\x06", "BAD_INDEX"),
    ("no end of an array", {"type": "array", "items": "long"}, b"\x02\x02", "TRUNCATED"),
    ("array cut in an item", {"type": "array", "items": "string"}, b"\x02\x04a", "TRUNCATED"),
    ("block with a size", {"type": "array", "items": "long"}, b"\x01\x02\x02\x00", "BAD_LENGTH"),
    ("second block", {"type": "array", "items": "long"}, b"\x02\x02\x02\x02\x00", "SECOND_BLOCK"),
    ("no block in two bytes", {"type": "array", "items": "long"}, b"\x80\x00", "BAD_VARINT"),
    ("huge count", {"type": "array", "items": "long"}, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "TOO_MANY_ITEMS"),
    ("a bomb of nulls", {"type": "array", "items": "null"}, b"\x80\x80\x80\x80\x10\x00", "TOO_MANY_ITEMS"),
    ("the same map key twice", {"type": "map", "values": "long"}, b"\x04\x02a\x02\x02a\x04\x00", "DUPLICATE_KEY"),
    ("bad UTF-8 in a map key", {"type": "map", "values": "long"}, b"\x02\x02\xff\x02\x00", "BAD_UTF8"),
    ("byte behind a null", "null", b"\x00", "TRAILING_BYTES"),
]


@pytest.mark.parametrize(("kind", "data", "expected"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_no_encoder_writes_is_refused(kind: Any, data: bytes, expected: str) -> None:
    assert code(codec_of(kind), data) == expected


def test_enums_of_more_than_64_symbols_have_indexes_of_two_bytes() -> None:
    codec = codec_of({"type": "enum", "name": "E", "symbols": [f"S{n}" for n in range(65)]})
    assert codec.encode("S64") == b"\x80\x01"
    assert codec.decode(b"\x80\x01") == "S64"
    for data in (b"\x80", b"\x80\x00", b"\x8c\x01", b"\x01"):
        code(codec, data)


def test_integers_at_every_border() -> None:
    codec, times = codec_of("long"), codec_of(TIME)
    for bits in range(64):
        for n in ((1 << bits) - 1, (1 << bits), -(1 << bits), -(1 << bits) - 1):
            if -(1 << 63) <= n < 1 << 63:
                data = codec.encode(n)
                assert data == times.encode(n) == written_by_fastavro("long", parse_schema("long"), n)
                assert codec.decode(data) == times.decode(data) == n
    assert LONGS[0] == b"\0"


def test_timestamps_before_behind_and_beside_six_bytes() -> None:
    codec = compile_codec({"type": "array", "items": TIME}, {})
    times = (0, 1, -1, 1 << 33, (1 << 34) - 1, 1 << 34, (1 << 41) - 1, 1 << 41, 1 << 50, -(1 << 40), 1_760_000_000_001)
    assert codec.decode(codec.encode(times)) == times


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("long", 1 << 63),
        ("long", -(1 << 63) - 1),
        ("long", True),
        ("long", 1.0),
        ("long", None),
        (TIME, 1.5),
        (TIME, True),
        ("int", 1 << 31),
        ("int", -(1 << 31) - 1),
        ("int", False),
        ("string", b"a"),
        ("string", None),
        ("string", "\ud800"),
        ("bytes", "a"),
        ("bytes", bytearray(b"a")),
        ("boolean", 1),
        ("null", 0),
        ("float", 1),
        ("float", 1e300),
        ("double", 1),
        ({"type": "fixed", "name": "F", "size": 2}, b"a"),
        ({"type": "fixed", "name": "F", "size": 2}, "ab"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "B"),
        (["null", "long"], "a"),
        (["long", "string"], None),
        (["null", "long"], True),
        ({"type": "array", "items": "long"}, ("a",)),
        ({"type": "map", "values": "long"}, {1: 1}),
        ({"type": "map", "values": "long"}, (1,)),
    ],
)
def test_values_that_do_not_fit_are_not_written(kind: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError, KeyError, AttributeError)):
        codec_of(kind).encode(value)


def test_records_are_written_only_with_all_their_fields() -> None:
    schema = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]}
    codec = compile_codec(schema, {"P": namedtuple("P", "x y")})
    with pytest.raises(ValueError):
        codec.encode((1,))
    with pytest.raises(ValueError):
        codec.encode((1, 2, 3))


def test_a_class_that_is_no_tuple_is_written_by_attribute_and_built_by_position() -> None:
    class Point:
        def __init__(self, x: int, y: int) -> None:
            self.x, self.y = x, y

    schema = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]}
    codec = compile_codec(schema, {"P": Point})
    assert codec.encode(Point(1, 2)) == b"\x02\x04"
    assert vars(codec.decode(b"\x02\x04")) == {"x": 1, "y": 2}


def test_a_record_in_a_union_is_told_by_its_class() -> None:
    one = {"type": "record", "name": "One", "fields": [{"name": "x", "type": "int"}]}
    two = {"type": "record", "name": "Two", "fields": [{"name": "x", "type": "int"}]}
    types = {"One": namedtuple("One", "x"), "Two": namedtuple("Two", "x")}
    codec = compile_codec([{"type": "array", "items": "int"}, one, two], types)
    for value, data in ((types["One"](1), b"\x02\x02"), (types["Two"](1), b"\x04\x02"), ((1,), b"\x00\x02\x02\x00")):
        assert codec.encode(value) == data
        decoded = codec.decode(data)
        assert decoded == value and type(decoded) is type(value)


# --- bounds: the encoder keeps them too, so that nothing is written that no one can read ---


def test_size_is_bounded() -> None:
    codec = codec_of("bytes", max_bytes=100)
    data = codec.encode(b"x" * 98)
    assert len(data) == 100 and codec.decode(data) == b"x" * 98
    assert codec.decode(b"frame" + data, 5) == b"x" * 98
    with pytest.raises(ValueError, match="too large"):
        codec.encode(b"x" * 99)
    assert code(codec, b"\xc6\x01" + b"x" * 99) == "TOO_LARGE"
    assert len(codec_of("bytes").encode(b"x" * ((1 << 20) - 3))) == 1 << 20


def test_items_are_bounded_over_the_whole_message() -> None:
    nested = codec_of({"type": "array", "items": {"type": "array", "items": "null"}})
    bomb = b"\xc8\x01" + b"\xa0\x9c\x01\x00" * 100 + b"\x00"  # 100 arrays of 10,000 nulls
    assert code(nested, bomb) == "TOO_MANY_ITEMS"
    with pytest.raises(ValueError, match="too many items"):
        nested.encode(((None,) * MAX_ITEMS,))
    largest = ((None,) * (MAX_ITEMS - 1),)
    assert nested.decode(nested.encode(largest)) == largest
    maps = codec_of({"type": "map", "values": "null"}, max_items=2)
    assert maps.decode(maps.encode({"a": None, "b": None})) == {"a": None, "b": None}
    with pytest.raises(ValueError, match="too many items"):
        maps.encode({"a": None, "b": None, "c": None})


CHAIN = {"type": "record", "name": "Link", "fields": [{"name": "next", "type": ["null", "Link"]}]}
TREE = {"type": "record", "name": "Node", "fields": [{"name": "kids", "type": {"type": "array", "items": "Node"}}]}


def test_depth_is_bounded() -> None:
    link = namedtuple("Link", "next")
    codec = compile_codec(CHAIN, {"Link": link})
    value = None
    for _ in range(MAX_DEPTH):
        value = link(value)
    data = codec.encode(value)
    assert data == b"\x02" * (MAX_DEPTH - 1) + b"\x00" and codec.decode(data) == value
    with pytest.raises(ValueError, match="too deep"):
        codec.encode(link(value))
    assert code(codec, b"\x02" + data) == "TOO_DEEP"
    assert code(codec, b"\x02" * 100_000 + b"\x00") == "TOO_DEEP"
    assert code(codec, b"\x02" * 10) == "TRUNCATED"
    with pytest.raises(BadRecord, match="TOO_DEEP"):
        compile_projection(CHAIN, ["next"])(b"\x02" * 100_000)


def test_items_are_counted_through_recursive_records() -> None:
    node = namedtuple("Node", "kids")
    codec = compile_codec(TREE, {"Node": node}, max_items=3)
    value = node((node((node(()),)), node(())))
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(ValueError, match="too many items"):
        codec.encode(node((value,)))
    assert code(codec, b"\x02" + codec.encode(value) + b"\x00") == "TOO_MANY_ITEMS"


def test_strings_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    from transforms import avro_runtime

    monkeypatch.setattr(avro_runtime, "_MAX_STRINGS", 3)
    avro_runtime._STRINGS.clear()
    for n in range(10):
        assert enc_str(f"s{n}") == b"\x04" + f"s{n}".encode()
        assert len(avro_runtime._STRINGS) <= 3
    enc_str("x" * 65)
    assert "x" * 65 not in avro_runtime._STRINGS
    assert enc_int(-1) == enc_long(-1) == b"\x01"


# --- readers of parts, and of many ---


def test_projections_give_fields_in_the_order_asked_and_check_the_rest() -> None:
    schema = load_schema("payments.PaymentInitiated")
    money = payments.Money(-5, "EUR")
    value = payments.PaymentInitiated("p1", "DEPOSIT", None, "A1", money, None, None, None, None, "app", 7)
    encoded = CODECS["payments.PaymentInitiated"].encode(value)
    project = compile_projection(schema, ("requested_at", "amount", "payment_id", "debtor_account"))
    assert project(encoded) == (7, (-5, "EUR"), "p1", None)
    assert compile_projection(schema, ())(encoded) == ()
    spoiled = encoded.replace(b"\x06app", b"\x06\xffpp")
    with pytest.raises(BadRecord, match="BAD_UTF8"):
        project(spoiled)
    with pytest.raises(BadRecord, match="TOO_LARGE"):
        compile_projection(schema, (), max_bytes=10)(encoded)


def test_projections_want_fields_that_exist() -> None:
    with pytest.raises(ValueError, match="has no field nothing"):
        compile_projection(CHAIN, ["nothing"])
    with pytest.raises(ValueError, match="needs the schema of a record"):
        compile_projection("long", [])


def test_a_reader_reads_as_many_as_there_are() -> None:
    read = compile_reader("long", {})
    assert read(b"\x02\x04", 2) == [1, 2]
    assert read(b"", 0) == []
    for data, count, expected in (
        (b"\x02\x04", 1, "TRAILING_BYTES"),
        (b"\x02\x04", 3, "TRUNCATED"),
        (b"\x02", -1, "TRAILING_BYTES"),
    ):
        with pytest.raises(BadRecord, match=expected):
            read(data, count)


def test_a_reader_bounds_the_items_of_each_value() -> None:
    read = compile_reader({"type": "array", "items": "null"}, {}, max_items=2)
    assert read(b"\x04\x00" * 3, 3) == [(None, None)] * 3
    with pytest.raises(BadRecord, match="TOO_MANY_ITEMS"):
        read(b"\x04\x00\x06\x00", 2)


# --- schemas ---

WRONG = [
    ("unknown type", "nothing"),
    ("not a schema", {"name": "x"}),
    ("not a schema", 7),
    ("branches", []),
    ("branches", ["null"] * 65),
    ("a type's name", [{"type": "fixed", "name": "F", "size": 1}, {"type": "fixed", "name": "F", "size": 1}]),
    ("a type's name", {"type": "fixed", "name": "F; import os", "size": 1}),
    ("a type's name", {"type": "fixed", "name": "F\n", "size": 1}),
    ("size must be", {"type": "fixed", "name": "F", "size": -1}),
    ("size must be", {"type": "fixed", "name": "F", "size": "1"}),
    ("symbols are not unique", {"type": "enum", "name": "E", "symbols": ["A", "A"]}),
    ("a field's name", {"type": "record", "name": "R", "fields": [{"name": "a.b", "type": "int"}]}),
    ("a field's name", {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}] * 2}),
    ("same Python type", ["int", "long"]),
    ("same Python type", ["string", {"type": "enum", "name": "E", "symbols": ["A"]}]),
]


@pytest.mark.parametrize(("message", "schema"), WRONG)
def test_schemas_that_are_none_are_refused(message: str, schema: Any) -> None:
    with pytest.raises(ValueError, match=message):
        codec_of(schema)


def test_a_record_needs_its_type() -> None:
    with pytest.raises(KeyError, match="record Link"):
        codec_of(CHAIN)
    with pytest.raises(KeyError, match="record Link"):
        compile_reader(CHAIN, {})


def test_names_are_resolved_in_their_namespace() -> None:
    inner = {
        "type": "record",
        "name": "other.Inner",
        "fields": [{"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A"]}}],
    }
    schema = {
        "type": "record",
        "name": "Outer",
        "namespace": "space",
        "fields": [
            {"name": "a", "type": inner},
            {"name": "b", "type": "other.Inner"},
            {"name": "c", "type": "other.E"},
            {"name": "d", "type": {"type": {"type": "fixed", "name": "F", "size": 1}}},
            {"name": "e", "type": "F"},
            {"name": "f", "type": {"type": "string", "logicalType": "uuid"}},
        ],
    }
    of = parse_schema(schema)
    assert isinstance(of, Record) and not of.recursive
    types = record_types(of)
    assert sorted(types) == ["other.Inner", "space.Outer"]
    value = types["space.Outer"](types["other.Inner"]("A"), types["other.Inner"]("A"), "A", b"x", b"y", "z")
    codec = compile_codec(schema, types)
    assert codec.decode(codec.encode(value)) == value
    assert codec.schema is schema


def test_records_that_hold_each_other_are_recursive() -> None:
    schema = {
        "type": "record",
        "name": "A",
        "fields": [
            {
                "name": "b",
                "type": [
                    "null",
                    {"type": "record", "name": "B", "fields": [{"name": "a", "type": {"type": "map", "values": "A"}}]},
                ],
            }
        ],
    }
    of = parse_schema(schema)
    types = record_types(of)
    codec = compile_codec(schema, types)
    value = types["A"](types["B"]({"x": types["A"](None), "y": types["A"](types["B"]({}))}))
    assert codec.decode(codec.encode(value)) == value


def test_a_record_that_holds_a_recursive_one_is_not_recursive_itself() -> None:
    schema = {
        "type": "record",
        "name": "Top",
        "fields": [{"name": "link", "type": CHAIN}, {"name": "n", "type": "int"}],
    }
    of = parse_schema(schema)
    assert isinstance(of, Record) and not of.recursive
    assert isinstance(of.fields["link"], Record) and of.fields["link"].recursive
    types = record_types(of)
    codec = compile_codec(schema, types)
    value = types["Top"](types["Link"](types["Link"](None)), 7)
    assert codec.decode(codec.encode(value)) == value
