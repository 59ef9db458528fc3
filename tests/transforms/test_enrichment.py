import math

import apache_beam as beam
import duckdb
import pytest
from apache_beam.coders import registry
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from schemas.rails import Record
from tests.proto import assert_no_pickled_coders
from tests.transforms.join_data import ROWS, Event, chunks_of
from transforms.chunks import Chunk, pack_chunk
from transforms.enrichment import EnrichedRow, EnrichFromTable, UnknownRow, grid_cell
from transforms.rows import FieldRows, RowsOf
from transforms.windows import BadRow

NAMES = {"EUR": "Euro", "USD": "US dollar", "JPY": "Yen"}
EVENTS = [Event(("EUR", "USD", "XXX", "JPY")[i % 4], i * 10, i, i * 10) for i in range(12)]


def load_names():
    return NAMES


def given_chunks(p, chunks):
    return p | "Chunks" >> beam.Create(chunks, reshuffle=False).with_output_types(Chunk)


def expected_rows():
    rows = [("t", 0, i, event.key, event.time, event.value) for i, event in enumerate(EVENTS)]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE names (key TEXT, name TEXT)")
        connection.executemany("INSERT INTO names VALUES (?, ?)", list(NAMES.items()))
        connection.execute("CREATE TABLE t (topic TEXT, part INT, ofs INT, key TEXT, time BIGINT, value INT)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
        found = connection.execute("SELECT t.*, name FROM t LEFT JOIN names USING (key)").fetchall()
    return (
        [EnrichedRow(*row) for row in found if row[6] is not None],
        [UnknownRow(*row[:6], row[3]) for row in found if row[6] is None],
    )


@pytest.mark.parametrize("table", [NAMES, load_names, "side input"])
def test_looks_rows_up_in_any_kind_of_table(make_pipeline, table):
    results, unmatched = expected_rows()
    assert len(unmatched) == 3
    with make_pipeline() as p:
        if table == "side input":
            table = p | "Names" >> beam.Create(list(NAMES.items())).with_output_types(tuple[str, str])
        enriched = given_chunks(p, chunks_of("t", EVENTS, 5)) | EnrichFromTable(ROWS, table)
        assert_that(enriched.results, equal_to(results), "Results")
        assert_that(enriched.unmatched, equal_to(unmatched), "Unmatched")
        assert_that(enriched.bad, equal_to([]), "Bad")


def test_rows_have_their_own_time_and_bad_ones_an_output(make_pipeline):
    rows = RowsOf(
        lambda record: (None if record.offset == 1 else "EUR" if record.offset else "-", 7 + record.offset, 1)
    )
    with make_pipeline() as p:
        enriched = given_chunks(p, chunks_of("t", EVENTS[:3])) | EnrichFromTable(rows, NAMES)
        for name, row in (
            ("results", (EnrichedRow("t", 0, 2, "EUR", 9, 1, "Euro"), 9)),
            ("unmatched", (UnknownRow("t", 0, 0, "-", 7, 1, "-"), 7)),
        ):
            timed = beam.Map(lambda row, time=beam.DoFn.TimestampParam: (row, time.micros // 1000))
            assert_that(getattr(enriched, name) | name >> timed, equal_to([row]), f"Check {name}")
        assert_that(enriched.bad, equal_to([BadRow("t", 0, 1, "NULL_FIELD", "key")]), "Check bad")


def test_fields_read_as_columns_become_plain_values(make_pipeline):
    fields = [{"name": "currency", "type": "string"}, {"name": "amount", "type": "long"}]
    schema = {"type": "record", "name": "Payment", "fields": fields}
    values = [b"\x00\x00\x00\x00\x07\x06EUR" + bytes([2 * i]) for i in range(3)]
    chunk = pack_chunk("t", 0, [Record(i, 5, b"k", value, None, ()) for i, value in enumerate(values)])
    by = lambda key, value: (key, value % 2)  # noqa: E731
    with make_pipeline() as p:
        rows = FieldRows({7: schema}, key="currency", value="amount")
        enriched = given_chunks(p, [chunk]) | EnrichFromTable(rows, {("EUR", 1): "odd"}, by)
        assert_that(enriched.results, equal_to([EnrichedRow("t", 0, 1, "EUR", 5, 1, "odd")]), "Results")
        assert_that(
            enriched.unmatched,
            equal_to([UnknownRow("t", 0, i, "EUR", 5, i, ("EUR", 0)) for i in (0, 2)]),
            "Unmatched",
        )
        kinds = enriched.results | beam.Map(lambda row: type(row.value).__name__)
        assert_that(kinds, equal_to(["int"]), "Plain")


def test_a_place_is_looked_up_by_its_cell(make_pipeline):
    rows = RowsOf(lambda record: (f"bid-{record.offset}", record.at, ((48.2, 16.4), (-33.9, 151.2))[record.offset]))
    cells = {grid_cell(48.0, 16.0, 0.5): "Vienna"}
    with make_pipeline() as p:
        enriched = given_chunks(p, chunks_of("t", EVENTS[:2])) | EnrichFromTable(
            rows, cells, by=lambda key, value: grid_cell(*value, 0.5)
        )
        found = enriched.results | beam.Map(lambda row: (row.key, row.found))
        assert_that(found, equal_to([("bid-0", "Vienna")]))
        lost = enriched.unmatched | beam.Map(lambda row: row.looked_up)
        assert_that(lost, equal_to([grid_cell(-33.9, 151.2, 0.5)]), "Lost")


def test_nothing_is_pickled(make_pipeline):
    p = make_pipeline()
    _ = given_chunks(p, []) | EnrichFromTable(ROWS, NAMES)
    assert_no_pickled_coders(p)


@given(st.floats(-90, 90), st.floats(-1000, 1000), st.sampled_from([0.01, 0.25, 0.5, 1, 7.5, 30, 90, 180]))
def test_a_cell_holds_its_place(lat, lon, degrees):
    row, column = grid_cell(lat, lon, degrees)
    assert 0 <= row < round(180 / degrees)
    assert 0 <= column < round(360 / degrees)
    south = row * degrees - 90
    assert south - 1e-9 <= lat <= south + degrees + 1e-9
    east = (lon + 180) % 360 - column * degrees
    assert -1e-9 <= east <= degrees + 1e-9 or math.isclose(east, 360)


@pytest.mark.parametrize(
    ("lat", "lon", "cell"),
    [
        (-90, -180, (0, 0)),
        (90, 180, (17, 0)),
        (0, 0, (9, 18)),
        (-0.001, -0.001, (8, 17)),
        (0, 359, (9, 17)),
        (9.99, 10, (9, 19)),
    ],
)
def test_cells_at_the_edges(lat, lon, cell):
    assert grid_cell(lat, lon, 10) == cell


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((91, 0, 1), "lat must lie between -90 and 90, .* got 91"),
        ((math.nan, 0, 1), "got nan"),
        ((0, math.inf, 1), "lon be finite, got 0, inf"),
        ((0, 0, 0), "degrees must divide 180 .* got 0"),
        ((0, 0, 7), "degrees must divide 180 .* got 7"),
        ((0, 0, math.nan), "got nan"),
    ],
)
def test_refuses_places_that_there_are_not(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid_cell(*arguments)


def test_refuses_bad_arguments_by_name(make_pipeline):
    p = make_pipeline()
    unbounded = p | beam.Create([("a", "b")])
    unbounded.is_bounded = False
    for arguments, message in (
        (("rows", NAMES), "rows must be a row reader .* 'rows'"),
        ((ROWS, 7), "table must be a mapping, a function or a PCollection, got 7"),
        ((ROWS, NAMES, "cell"), "by must be a function of .* got 'cell'"),
        ((ROWS, unbounded), "table must be bounded"),
    ):
        with pytest.raises(ValueError, match=f"EnrichFromTable: {message}"):
            EnrichFromTable(*arguments)


@pytest.mark.parametrize(
    "row", [EnrichedRow("t", 0, 1, "k", 2, 0.5, ("a", 1)), UnknownRow("t", 0, 1, 7, 2, b"", (1, 2))]
)
def test_rows_travel_as_plain_bytes(row):
    coder = registry.get_coder(type(row))
    assert repr(coder.decode(coder.encode(row))) == repr(row)
