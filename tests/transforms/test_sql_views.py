import random
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import duckdb
import pytest
from apache_beam.testing.util import assert_that, equal_to

from tests.proto import assert_no_pickled_coders
from transforms.sql_views import RowBatch, SqlViewError, UpsertRows, pack_rows, upsert_rows
from transforms.tables import Table, columns

BALANCES = Table(
    "balances", columns("id TEXT, minor BIGINT, open BOOLEAN, raw BLOB, revision BIGINT"), ("id",), "revision"
)
EVENTS = Table("events", columns("shard BIGINT, position BIGINT, share DOUBLE"), ("shard", "position"))
KEYS = Table("keys", columns("a TEXT, b TEXT"), ("a", "b"))
TABLES = (BALANCES, EVENTS, KEYS)
VIEWS = {
    "open_balances": "SELECT id, minor FROM balances WHERE open",
    "total": "SELECT sum(minor) AS minor FROM open_balances",
}
ENDINGS = [".duckdb", ".sqlite", ".db"]
BOTH = ENDINGS[:2]
every_database = pytest.mark.parametrize("ending", BOTH)


def balance(i: int, revision: int, minor: int | None = None) -> tuple:
    return (
        f"acc{i:04}",
        revision * 10 if minor is None else minor,
        i % 2 == 0,
        b"\x00%d" % i if i % 3 else None,
        revision,
    )


def batches(table: Table, rows: list, size: int = 7, seed: int = 0) -> list[RowBatch]:
    rows = random.Random(seed).sample(rows, len(rows))
    return [pack_rows(table, rows[i : i + size]) for i in range(0, len(rows), size)]


def query(path: Path, sql: str) -> list[tuple]:
    """Rows as they lie in the table unless `sql` orders them."""
    connect: Any = duckdb.connect if path.suffix == ".duckdb" else sqlite3.connect
    with closing(connect(str(path))) as connection:
        return connection.execute(sql).fetchall()


def balances(path: Path) -> list[tuple]:
    rows = query(path, "SELECT * FROM balances ORDER BY id")
    return [(key, minor, bool(is_open), raw, revision) for key, minor, is_open, raw, revision in rows]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_newest_version_of_each_key_stays(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"views{ending}"
    first = [balance(i, revision) for i in range(50) for revision in (2, 10, 9)]
    assert upsert_rows(path, TABLES, batches(BALANCES, first), VIEWS) == [("balances", 50), ("events", 0), ("keys", 0)]
    assert balances(path) == [balance(i, 10) for i in range(50)]
    # Older ones change nothing, newer ones and new keys do, equal ones take the values of the last run.
    second = [balance(0, 9), balance(1, 11), balance(2, 10, 77), balance(99, 1)]
    assert upsert_rows(path, TABLES, batches(BALANCES, second), VIEWS)[0] == ("balances", 4)
    expected = {row[0]: row for row in (balance(i, 10) for i in range(50))}
    expected |= {row[0]: row for row in second[1:]}
    assert balances(path) == sorted(expected.values())


@every_database
def test_without_a_version_the_last_run_wins(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"views{ending}"
    upsert_rows(path, TABLES, batches(EVENTS, [(1, 1, 0.5), (1, 2, 0.5), (2, 1, None), (1, 1, 0.25)]))
    assert query(path, "SELECT * FROM events ORDER BY 1, 2") == [(1, 1, 0.5), (1, 2, 0.5), (2, 1, None)]
    upsert_rows(path, TABLES, batches(EVENTS, [(1, 1, None), (1, 2, -1.0)]))
    assert query(path, "SELECT * FROM events ORDER BY 1, 2") == [(1, 1, None), (1, 2, -1.0), (2, 1, None)]


@every_database
def test_a_table_may_be_all_key(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"views{ending}"
    for rows in ([("x", "1"), ("x", "2"), ("x", "1")], [("x", "2"), ("y", "1")]):
        upsert_rows(path, TABLES, batches(KEYS, rows))
    assert query(path, "SELECT * FROM keys ORDER BY 1, 2") == [("x", "1"), ("x", "2"), ("y", "1")]


@every_database
def test_running_it_twice_gives_the_same_tables_for_any_bundling(tmp_path: Path, ending: str) -> None:
    rows = [balance(i, revision, minor) for i in range(300) for revision in (1, 2) for minor in (5, 6)]
    for n in range(3):
        for _ in range(n):
            upsert_rows(tmp_path / f"{n}{ending}", TABLES, batches(BALANCES, rows, 1 + 50 * n, seed=n), VIEWS)
    lying = query(tmp_path / f"1{ending}", "SELECT * FROM balances")
    assert lying == query(tmp_path / f"2{ending}", "SELECT * FROM balances")
    assert [row[0] for row in lying] == [f"acc{i:04}" for i in range(300)]
    upsert_rows(tmp_path / f"again{ending}", TABLES, batches(BALANCES, rows, 1000, seed=9), VIEWS)
    if ending == ".sqlite":  # DuckDB gives each file an identity of its own
        assert (tmp_path / f"again{ending}").read_bytes() == (tmp_path / f"1{ending}").read_bytes()


@every_database
def test_views_are_made_and_replaced(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"views{ending}"
    upsert_rows(path, TABLES, batches(BALANCES, [balance(i, 1) for i in range(4)]), VIEWS)
    assert query(path, "SELECT * FROM total") == [(20,)]
    upsert_rows(path, TABLES, [], VIEWS | {"total": "SELECT count(*) AS n FROM open_balances"})
    assert query(path, "SELECT n FROM total") == [(2,)]


@every_database
def test_nothing_changes_when_something_fails(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"views{ending}"
    broken = {"total": "SELECT nothing FROM balances"}
    with pytest.raises(SqlViewError, match="nothing"):
        upsert_rows(path, TABLES, batches(BALANCES, [balance(1, 1)]), broken)
    assert list(tmp_path.iterdir()) == []
    upsert_rows(path, TABLES, batches(BALANCES, [balance(1, 1)]))

    def fail(*_: Any) -> None:
        raise RuntimeError("stop")

    kind = "_DuckDb" if ending == ".duckdb" else "_Sqlite"
    original = getattr(__import__("transforms.sql_views", fromlist=[kind]), kind).upsert
    seen = []

    def second_fails(connection: Any, table: Table, data: Any) -> None:
        seen.append(table.name)
        (fail if len(seen) == 2 else original)(connection, table, data)

    monkeypatch.setattr(f"transforms.sql_views.{kind}.upsert", staticmethod(second_fails))
    with pytest.raises(RuntimeError):
        upsert_rows(path, TABLES, batches(BALANCES, [balance(1, 2)]) + batches(EVENTS, [(1, 1, 1.0)]))
    assert seen == ["balances", "events"]
    assert balances(path) == [balance(1, 1)]


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Writing beyond that fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# A database of DuckDB that holds the tables alone has 0.5 MB, and its log of these rows less than its file.
@pytest.mark.parametrize(("ending", "size"), [(".duckdb", 300_000), (".duckdb", 10_000), (".sqlite", 60_000)])
def test_a_full_disk_leaves_nothing_and_is_said(tmp_path: Path, ending: str, size: int) -> None:
    path = tmp_path / f"views{ending}"
    rows = batches(BALANCES, [balance(i, 1) for i in range(3_000)], 1_000)
    with no_file_above(size), pytest.raises(SqlViewError) as caught:
        upsert_rows(path, TABLES, rows, VIEWS)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@every_database
def test_a_full_disk_leaves_the_database_that_was_there(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"views{ending}"
    upsert_rows(path, TABLES, batches(BALANCES, [balance(1, 1)]), VIEWS)
    more = batches(BALANCES, [balance(i, i) for i in random.Random(1).sample(range(1, 300_000), 100_000)], 10_000)
    with no_file_above(path.stat().st_size), pytest.raises(SqlViewError):
        upsert_rows(path, TABLES, more, VIEWS)
    assert (1, "acc0001") in query(path, "SELECT revision, id FROM balances")
    upsert_rows(path, TABLES, more, VIEWS)
    assert query(path, "SELECT COUNT(*) >= 100000 FROM balances") == [(True,)]
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@every_database
def test_integers_of_64_bits_and_odd_text(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"views{ending}"
    rows = [("'; DROP TABLE balances; --", (1 << 63) - 1, True, b"\x00", 0), ("é\n", -(1 << 63), False, b"", 1)]
    upsert_rows(path, TABLES, batches(BALANCES, rows))
    assert balances(path) == rows


SUMS = Table("sums", columns("id TEXT, total DECIMAL(38,0), revision BIGINT"), ("id",), "revision")


def test_sums_beyond_64_bits_are_for_duckdb(tmp_path: Path) -> None:
    path = tmp_path / "v.duckdb"
    most = 10**38 - 1
    for _ in range(2):
        upsert_rows(path, (SUMS,), batches(SUMS, [("a", most, 1), ("b", -most, 1), ("c", None, 1)]))
        assert query(path, "SELECT id, total FROM sums ORDER BY id") == [("a", most), ("b", -most), ("c", None)]
    path = tmp_path / "v.sqlite"
    fits = [("a", (1 << 63) - 1), ("b", -(1 << 63))]
    for _ in range(2):
        upsert_rows(path, (SUMS,), batches(SUMS, [(*row, 1) for row in fits]))
        assert query(path, "SELECT id, total FROM sums ORDER BY id") == fits
    for total in (1 << 63, -(1 << 63) - 1):
        with pytest.raises(SqlViewError) as caught:
            upsert_rows(path, (SUMS,), batches(SUMS, [("a", 0, 2), ("b", total, 2)]))
        assert str(caught.value) == (
            f"{path}: table sums: a value of total has more than 64 bits, which SQLite cannot hold: use DuckDB"
        )
    assert query(path, "SELECT id, total FROM sums ORDER BY id") == fits


def test_the_tables_of_sqlite_have_their_keys(tmp_path: Path) -> None:
    upsert_rows(tmp_path / "v.sqlite", TABLES, batches(BALANCES, [balance(1, 1)]))
    with closing(sqlite3.connect(tmp_path / "v.sqlite")) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO balances VALUES ('acc0001', 1, 1, NULL, 1)")


# --- what is refused ---


def refusal(path: Path, tables: tuple[Table, ...] = TABLES, views: dict[str, str] | None = None) -> str:
    with pytest.raises(SqlViewError) as caught:
        UpsertRows(path, tables, views)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@every_database
def test_a_database_with_other_columns(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"views{ending}"
    upsert_rows(path, TABLES, [])
    UpsertRows(path, TABLES)
    other = Table("keys", columns("a TEXT, c BIGINT"), ("a",))
    message = "table keys has the columns (a TEXT, b TEXT), should have (a TEXT, c BIGINT)"
    assert refusal(path, (other,)) == message
    with pytest.raises(SqlViewError, match="table keys has the columns"):
        upsert_rows(path, (BALANCES, other), [])
    assert refusal(path, (Table("keys", columns("b TEXT, a TEXT"), ("a",)),)).startswith("table keys has the columns")


@every_database
def test_a_file_that_is_no_database(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"views{ending}"
    path.write_bytes(b"no database at all " * 1000)
    assert "not a" in refusal(path)
    assert path.read_bytes() == b"no database at all " * 1000


@every_database
def test_views_that_are_no_sql(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"views{ending}"
    assert "nowhere" in refusal(path, views={"v": "SELECT 1 FROM nowhere"})
    assert "syntax" in refusal(path, views={"v": "SELEKT 1"}).lower()
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    path = tmp_path / "v.sqlite"
    for table, message in (
        (Table("t", columns("a TEXT"), ()), "table t: has no key"),
        (Table("t", columns("a TEXT"), ("b",)), "table t: no column b"),
        (Table("t", columns("a TEXT"), ("a",), "v"), "table t: no column v"),
        (Table("t", columns("a TEXT, a TEXT"), ("a",)), "table t: two columns of one name"),
        (Table("t", columns("a REAL"), ("a",)), "column a has type REAL"),
        (Table("t;", columns("a TEXT"), ("a",)), "not a name of a table, column or view: 't;'"),
        (Table("t", (("a b", "TEXT"),), ("a b",)), "not a name of a table, column or view: 'a b'"),
        (Table("KEYS", columns("a TEXT"), ("a",)), "two tables or views of one name among keys, KEYS"),
    ):
        with pytest.raises(ValueError, match=message):
            UpsertRows(path, (KEYS, table))
    with pytest.raises(ValueError, match="two tables or views of one name"):
        UpsertRows(path, (KEYS,), {"keys": "SELECT 1"})
    with pytest.raises(ValueError, match=r"a database ends in one of \.duckdb, \.sqlite, \.db, got 'v\.txt'"):
        UpsertRows("v.txt", (KEYS,))
    with pytest.raises(ValueError, match="rows of table events, which is not one of keys"):
        upsert_rows(path, (KEYS,), batches(EVENTS, [(1, 1, None)]))


# --- pipelines ---


@every_database
def test_the_transform_gives_the_tables_and_their_numbers_of_keys(tmp_path: Path, make_pipeline, ending: str) -> None:
    path = tmp_path / "out" / f"views{ending}"
    rows = [balance(i, revision) for i in range(20) for revision in (1, 2)]
    given = batches(BALANCES, rows, 3) + batches(EVENTS, [(1, 1, 0.5)])
    with make_pipeline() as p:
        written = p | beam.Create(given, reshuffle=False).with_output_types(RowBatch) | UpsertRows(path, TABLES, VIEWS)
        assert_no_pickled_coders(p)
        assert_that(written, equal_to([("balances", 20), ("events", 1), ("keys", 0)]))
    assert balances(path) == [balance(i, 2) for i in range(20)]
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_no_rows_make_empty_tables(tmp_path: Path, make_pipeline) -> None:
    with make_pipeline() as p:
        p | beam.Create([]).with_output_types(RowBatch) | UpsertRows(tmp_path / "v.sqlite", TABLES, VIEWS)
    assert query(tmp_path / "v.sqlite", "SELECT * FROM total") == [(None,)]
