import io
import pickle
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.rails import Record
from transforms.chunks import Chunk, DamagedChunk, pack_chunk
from transforms.errors import BadRecord
from transforms.rows import MAX_TIME, MIN_TIME, Bad, Columns, FieldRows, Rows, RowsOf

NUMBER, OTHER = 7, 8
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Payment",
    "fields": [
        {"name": "card", "type": "string"},
        {"name": "amount", "type": ["null", "long"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "rate", "type": "double"},
        {"name": "number", "type": "int"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["IN", "OUT"]}},
        {"name": "raw", "type": "bytes"},
        {"name": "fine", "type": "boolean"},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "small", "type": "float"},
    ],
}
PARSED = fastavro.parse_schema(SCHEMA)


def framed(schema_id: int = NUMBER, **fields: Any) -> bytes:
    value = {"card": "c1", "amount": 5, "at": 1000, "rate": 0.5, "number": 3, "kind": "OUT", "raw": b"r", "fine": True}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED, value | {"tags": [], "small": 0.25} | fields)
    return b"\x00" + schema_id.to_bytes(4, "big") + out.getvalue()


def chunk(values: list[bytes | None], clock: int = -1, offset: int = 0, appended: list[int] | None = None) -> Chunk:
    times = appended or [2000 + i for i in range(len(values))]
    records = [Record(offset + i, times[i], b"k", value, None, ()) for i, value in enumerate(values)]
    return pack_chunk("t", 1, records, clock)


def plainly(rows: Rows, of: Chunk) -> Columns:
    return Rows.read(rows, of)


def listed(columns: Columns) -> tuple[Any, ...]:
    """Columns as Python's own lists, with the type of each value."""
    as_lists = [c.tolist() if isinstance(c, np.ndarray) else list(c) for c in columns]
    return *as_lists, [(type(k), type(v)) for k, v in zip(as_lists[0], as_lists[2], strict=True)]


def many(n: int = 50) -> list[bytes | None]:
    return [
        framed(
            card=f"c{i % 7}é" if i % 2 else "c",
            amount=i,
            at=5000 - i * 37 % 900,
            rate=-0.0 if i % 5 else i / 3,
            number=-i,
            raw=b"\xff" * (i % 3),
        )
        for i in range(n)
    ]


READERS = {
    "sum": FieldRows({NUMBER: SCHEMA}, "card", "at", "amount"),
    "count": FieldRows({NUMBER: SCHEMA}, "card"),
    "number as key": FieldRows({NUMBER: SCHEMA}, "number", "at", "kind"),
    "several": FieldRows({NUMBER: SCHEMA}, "raw", "at", ("amount", "card", "rate", "fine")),
    "one in a tuple": FieldRows({NUMBER: SCHEMA}, "card", "at", ("amount",)),
    "double": FieldRows({NUMBER: SCHEMA}, "kind", "number", "rate"),
    "key is value": FieldRows({NUMBER: SCHEMA}, "card", "at", "card"),
}


@pytest.mark.parametrize("rows", READERS.values(), ids=READERS)
def test_the_fast_way_gives_what_the_plain_way_gives(rows: FieldRows) -> None:
    of = chunk(many(), clock=2020, appended=[2000 + i * 7 % 40 for i in range(50)])
    assert rows._scan is not None
    assert rows._scan.read(of.payload, of.count) is not None
    assert listed(rows.read(of)) == listed(plainly(rows, of))


@pytest.mark.parametrize("rows", READERS.values(), ids=READERS)
@given(data=st.data())
@settings(max_examples=25)
def test_poison_among_the_records_changes_nothing_for_the_others(rows: FieldRows, data: st.DataObject) -> None:
    good = framed()
    poison: list[bytes | None] = [
        None,
        b"",
        b"\x00",
        good[:-1],
        good + b"x",
        b"\x01" + good[1:],
        framed(amount=None),
        framed(rate=float("nan")),
    ]
    poison += [
        framed(OTHER),
        framed(amount=2**63 - 1),
        framed(at=-(2**63)),
        framed(tags=["a"] * 200),
        framed(card="é" * 300),
    ]
    values = many(40)
    for value in data.draw(st.lists(st.sampled_from(poison), max_size=4)):
        values[data.draw(st.integers(0, 39))] = value
    of = chunk(values)
    assert listed(rows.read(of)) == listed(plainly(rows, of))


def test_the_clock_is_the_largest_append_time_before_the_record() -> None:
    appended = [100, 90, 300, 200, *[250] * 40]
    for rows in (READERS["sum"], RowsOf(lambda r: ("k", 0, 1))):
        columns = rows.read(chunk(many(44), clock=95, appended=appended))
        assert columns.clocks[:5].tolist() == [95, 100, 100, 300, 300]
        assert list(columns.offsets)[:3] == [0, 1, 2]


def test_times_are_clamped() -> None:
    values = [framed(at=at) for at in (-(2**55), 2**55, MIN_TIME, MAX_TIME)] * 10
    for of in (chunk(list(values)), chunk(list(values[:4])), chunk([framed(at=-(2**63)), framed(at=2**63 - 1)])):
        times = set(READERS["sum"].read(of).times.tolist())
        assert times <= {MIN_TIME, MAX_TIME}
        assert times == set(plainly(READERS["sum"], of).times.tolist())


def test_without_a_time_field_the_append_time_counts() -> None:
    assert FieldRows({NUMBER: SCHEMA}, "card").read(chunk(many(40))).times.tolist() == list(range(2000, 2040))


def test_bad_records_say_where_and_why_and_have_no_row() -> None:
    values = [
        framed(),
        b"nonsense",
        framed(amount=None),
        b"\x00\x01",
        framed()[:-1],
        framed(rate=float("nan")),
        None,
        framed(OTHER),
        framed(),
    ]
    columns = FieldRows({NUMBER: SCHEMA}, "card", "at", ("amount", "rate")).read(chunk(values, offset=70))
    assert columns.bad == [
        Bad(71, "BAD_FRAME", "value"),
        Bad(72, "NULL_FIELD", "amount"),
        Bad(73, "BAD_FRAME", "value"),
        Bad(74, "TRUNCATED", ""),
        Bad(75, "NOT_A_NUMBER", "value"),
    ]
    assert (columns.keys, columns.offsets, columns.values) == (["c1", "c1"], [70, 78], [(5, 0.5)] * 2)


def test_a_chunk_that_is_damaged_itself_stops() -> None:
    of = chunk(many(40))
    with pytest.raises(DamagedChunk, match="TRUNCATED"):
        READERS["sum"].read(of._replace(payload=of.payload[:-1]))


def test_several_versions_of_a_schema() -> None:
    newer = SCHEMA | {"fields": [{"name": "note", "type": "string", "default": ""}, *SCHEMA["fields"]]}
    out = io.BytesIO()
    fields = {
        "note": "n",
        "card": "c2",
        "amount": 6,
        "at": 1,
        "rate": 0.0,
        "number": 1,
        "kind": "IN",
        "raw": b"",
        "fine": False,
    }
    fastavro.schemaless_writer(out, fastavro.parse_schema(newer), fields | {"tags": [], "small": 0.0})
    rows = FieldRows({NUMBER: SCHEMA, OTHER: newer}, "card", "at", "amount")
    columns = rows.read(chunk([framed(), b"\x00\x00\x00\x00\x08" + out.getvalue(), framed(9)]))
    assert (columns.keys, columns.values) == (["c1", "c2"], [5, 6])


def test_a_reader_can_travel() -> None:
    for rows in READERS.values():
        of = chunk(many())
        assert listed(pickle.loads(pickle.dumps(rows)).read(of)) == listed(rows.read(of))


def test_whether_values_can_be_integers() -> None:
    can = {name: rows.may_be_integers for name, rows in READERS.items()}
    assert {name for name, yes in can.items() if yes} == {"sum", "count"}
    assert RowsOf(lambda r: None).may_be_integers


def test_rows_by_a_function() -> None:
    def row(record: Record) -> tuple[Any, int, Any] | None:
        if record.offset == 1:
            return None
        if record.offset == 2:
            raise BadRecord("ODD", "offset")
        return ("k", (1, b"x")), record.at, (-0.0, record.offset)

    columns = RowsOf(row).read(chunk([b"v"] * 4))
    assert columns.keys == [("k", (1, b"x"))] * 2
    assert str(columns.values) == "[(0.0, 0), (0.0, 3)]"
    assert (columns.bad, columns.offsets) == ([Bad(2, "ODD", "offset")], [0, 3])


@pytest.mark.parametrize(
    ("row", "bad"),
    [
        ((None, 1, 1), Bad(0, "NULL_FIELD", "key")),
        (("k", None, 1), Bad(0, "NULL_FIELD", "time")),
        (("k", 1, None), Bad(0, "NULL_FIELD", "value")),
        (("k", 1, float("nan")), Bad(0, "NOT_A_NUMBER", "value")),
        (("k", 1, (1, float("nan"))), Bad(0, "NOT_A_NUMBER", "value")),
    ],
    ids=str,
)
def test_a_row_that_fits_no_window_is_bad(row: Any, bad: Bad) -> None:
    columns = RowsOf(lambda r: row).read(chunk([b"v"]))
    assert (columns.bad, columns.keys) == ([bad], [])


@pytest.mark.parametrize("key", [1.0, True, ("k", 1.0), ["k"]], ids=str)
def test_keys_that_could_be_equal_to_others_are_refused(key: Any) -> None:
    with pytest.raises(TypeError, match="the key of a row is a string, bytes, an integer or a tuple of these, not"):
        RowsOf(lambda r: (key, 1, 1)).read(chunk([b"v"]))


@pytest.mark.parametrize("time", [1.0, True, "1"], ids=str)
def test_times_are_whole_milliseconds(time: Any) -> None:
    with pytest.raises(TypeError, match=r"whole milliseconds, not (float|bool|str)"):
        RowsOf(lambda r: ("k", time, 1)).read(chunk([b"v"]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FieldRows({}, "card"), "schemas must not be empty"),
        (lambda: FieldRows({7: SCHEMA}, "cart"), "schema 7 (Payment) has no field cart"),
        (lambda: FieldRows({7: SCHEMA}, "card", value=("amount", "fee")), "has no field fee"),
        (lambda: FieldRows({7: SCHEMA}, "card", "when"), "has no field when"),
        (
            lambda: FieldRows({7: SCHEMA}, "rate"),
            "key must be of type string, bytes, int, long, enum; rate of schema 7 is of type double",
        ),
        (lambda: FieldRows({7: SCHEMA}, "card", "rate"), "time must be of type int, long; rate of schema 7"),
        (lambda: FieldRows({7: SCHEMA}, "card", "at", "tags"), "tags of schema 7 is of type array"),
        (lambda: RowsOf("f"), "function must be callable, got 'f'"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


def test_the_empty_chunk_has_no_rows() -> None:
    columns = READERS["sum"].read(Chunk("t", 0, 0, -1, 0, b""))
    assert (columns.keys, len(columns.times), columns.bad) == ([], 0, [])
