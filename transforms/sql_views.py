"""SQL views: tables of a SQLite or DuckDB file, brought up to date by idempotent upserts."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from transforms.errors import InputError
from transforms.row_batches import (
    RowBatch,
    arrow_schema,
    newest_rows,
    pack_rows,
    plain_values,
    read_batches,
    unpack_rows,
)
from transforms.tables import Table
from transforms.whole_files import temporary_path

__all__ = ["RowBatch", "SqlViewError", "UpsertRows", "pack_rows", "unpack_rows", "upsert_rows"]

ENDINGS = (".duckdb", ".sqlite", ".db")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SqlViewError(InputError):
    """A database cannot hold the tables or views; the message is one line with the file's name and what is wrong."""


class UpsertRows(beam.PTransform):
    """PCollection[RowBatch], bounded → PCollection[tuple[str, int]]: rows into tables of a database; gives (table, number of keys).

    `path` ends in `.sqlite` or `.db` (SQLite) or `.duckdb` (DuckDB, the extra `views`). Of the rows of a key the one with the
    largest version (`Table.version`) stays, whether it was there before or comes now; at equal versions, and in a table without
    version, that of the last run. Rows of one run that only differ elsewhere: the largest in all columns. So the tables are the
    same for any bundling, after a retry, and after running it twice. All tables, then the `views` (name → SELECT, in this order),
    are made if they are missing; a view is replaced. Everything happens in one transaction of one writer, and a new database
    appears whole, by rename. All rows pass through that worker and its memory.

    SqlViewError, when the pipeline is built wherever possible: a file that is no such database or is in use, a table there with
    other columns, a view that is not SQL; in the run also a full disk, and a DECIMAL(38,0) beyond the 64 bits of SQLite.
    ValueError: a batch of no table named here, or packed for other columns.
    """

    def __init__(self, path: str | Path, tables: Sequence[Table], views: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.path, self.tables, self.views = str(path), tuple(tables), dict(views or {})
        check_tables(self.tables, self.views)
        check_database(self.path, self.tables, self.views)

    def expand(self, batches: Any) -> Any:
        path, tables, views = self.path, self.tables, self.views

        def upsert(group: tuple[int, Iterable[RowBatch]]) -> Iterator[tuple[str, int]]:
            yield from upsert_rows(path, tables, (batch for batch in group[1] if batch.table), views)

        # The batch that makes tables of no rows.
        empty = batches.pipeline | "Empty" >> beam.Create([RowBatch("", b"")], reshuffle=False).with_output_types(
            RowBatch
        )
        return (
            (batches | "Global" >> beam.WindowInto(GlobalWindows()), empty)
            | "WithEmpty" >> beam.Flatten()
            | "Together" >> beam.Map(_together).with_output_types(tuple[int, RowBatch])
            | "Group" >> beam.GroupByKey()
            | "Upsert" >> beam.FlatMap(upsert).with_output_types(tuple[str, int])
        )


def _together(batch: RowBatch) -> tuple[int, RowBatch]:
    return 0, batch


def check_tables(tables: Sequence[Table], views: Mapping[str, str]) -> None:
    """ValueError when no database could hold these tables and views."""
    names = [table.name for table in tables] + list(views)
    for name in [*names, *(column for table in tables for column in table.names)]:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name of a table, column or view: {name!r}")
    if len({name.lower() for name in names}) < len(names):
        raise ValueError(f"two tables or views of one name among {', '.join(names)}")
    for table in tables:
        _check_table(table)


def _check_table(table: Table) -> None:
    arrow_schema(table)
    if not table.key:
        raise ValueError(f"table {table.name}: has no key")
    for name in (*table.key, *([table.version] if table.version else [])):
        if name not in table.names:
            raise ValueError(f"table {table.name}: no column {name}")
    if len(set(table.names)) < len(table.names):
        raise ValueError(f"table {table.name}: two columns of one name")


def check_database(path: str | Path, tables: Sequence[Table], views: Mapping[str, str]) -> None:
    """SqlViewError when an upsert into this database could not work; nothing is changed."""
    kind = _database(path)
    with _errors(path), closing(kind.connect(":memory:")) as memory:
        _prepare(path, memory, tables, views, kind)
    if Path(path).exists():
        with _errors(path), closing(kind.connect(path, read_only=True)) as there:
            for table in tables:
                _compare(path, table, kind.columns(there, table.name))


def upsert_rows(
    path: str | Path, tables: Sequence[Table], batches: Iterable[RowBatch], views: Mapping[str, str] | None = None
) -> list[tuple[str, int]]:
    """What `UpsertRows` does, for batches in any order; gives (table, number of keys given) for each table."""
    kind = _database(path)
    by_table: dict[str, list[RowBatch]] = {table.name: [] for table in tables}
    for batch in batches:
        if batch.table not in by_table:
            raise ValueError(f"rows of table {batch.table}, which is not one of {', '.join(by_table)}")
        by_table[batch.table].append(batch)
    counts = []
    with _whole(path) as place, _errors(path), closing(kind.connect(place)) as connection:
        connection.execute("BEGIN")
        _prepare(path, connection, tables, views or {}, kind)
        for table in tables:
            data = newest_rows(table, read_batches(table, by_table.pop(table.name)))
            if len(data):
                kind.upsert(connection, table, data)
            counts.append((table.name, len(data)))
        connection.execute("COMMIT")
        kind.settle(connection)
    return counts


@contextmanager
def _whole(path: str | Path) -> Iterator[Path]:
    """The database where it is, or, if it is new, a place from which it gets its name at the end."""
    if Path(path).exists():
        yield Path(path)
    else:
        with temporary_path(path) as temporary:
            try:
                yield temporary
            finally:  # what a database that fails leaves beside its file
                for ending in _Sqlite.beside + _DuckDb.beside:
                    temporary.with_name(temporary.name + ending).unlink(missing_ok=True)


def _prepare(path: str | Path, connection: Any, tables: Sequence[Table], views: Mapping[str, str], kind: Any) -> None:
    for table in tables:
        found = kind.columns(connection, table.name)
        if found:
            _compare(path, table, found)
        else:
            connection.execute(kind.create(table))
    for name, query in views.items():
        kind.make_view(connection, name, query)


def _compare(path: str | Path, table: Table, found: Sequence[tuple[str, str]]) -> None:
    if found and tuple(found) != table.columns:
        there, wanted = (", ".join(map(" ".join, columns)) for columns in (found, table.columns))
        raise SqlViewError(f"{path}: table {table.name} has the columns ({there}), should have ({wanted})")


@contextmanager
def _errors(path: str | Path) -> Iterator[None]:
    """The errors of the databases as ours; what no database raises passes."""
    try:
        yield
    except Exception as error:
        if isinstance(error, sqlite3.Error) or type(error).__module__.partition(".")[0] in ("duckdb", "_duckdb"):
            raise SqlViewError(f"{path}: {' '.join(str(error).split())}") from None
        raise


# --- the two databases ---


class _Sqlite:
    beside = ("-journal",)

    @staticmethod
    def settle(connection: Any) -> None:
        """All is in the file since COMMIT."""

    @staticmethod
    def connect(path: str | Path, read_only: bool = False) -> Any:
        if str(path) == ":memory:":
            return sqlite3.connect(path, isolation_level=None)
        mode = "ro" if read_only else "rwc"
        return sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)

    @staticmethod
    def columns(connection: Any, table: str) -> list[tuple[str, str]]:
        return [(row[1], row[2]) for row in connection.execute(f'PRAGMA table_info("{table}")')]

    @staticmethod
    def create(table: Table) -> str:
        return _create(table, f", PRIMARY KEY ({_quoted(table.key)})) WITHOUT ROWID")

    @staticmethod
    def make_view(connection: Any, name: str, query: str) -> None:
        connection.execute(f'DROP VIEW IF EXISTS "{name}"')
        connection.execute(f'CREATE VIEW "{name}" AS {query}')
        connection.execute(f'SELECT * FROM "{name}" LIMIT 0')

    @staticmethod
    def upsert(connection: Any, table: Table, data: Any) -> None:
        others = [name for name in table.names if name not in table.key]
        action = "NOTHING"
        if others:
            action = "UPDATE SET " + ", ".join(f'"{name}" = excluded."{name}"' for name in others)
            if table.version:
                action += f' WHERE excluded."{table.version}" >= "{table.name}"."{table.version}"'
        marks = ", ".join("?" * len(table.columns))
        statement = f'INSERT INTO "{table.name}" VALUES ({marks}) ON CONFLICT ({_quoted(table.key)}) DO {action}'
        for batch in data.to_batches(max_chunksize=10_000):
            values = [plain_values(column) for column in batch.columns]
            try:
                connection.executemany(statement, zip(*values, strict=True))
            except OverflowError:  # sqlite3 does not name the column
                sums = " or ".join(name for name, kind in table.columns if kind.startswith("DECIMAL"))
                what = f"a value of {sums} has more than 64 bits, which SQLite cannot hold: use DuckDB"
                raise sqlite3.DataError(f"table {table.name}: {what}") from None


class _DuckDb:
    beside = (".wal",)

    @staticmethod
    def settle(connection: Any) -> None:
        """Puts into the file what COMMIT leaves in the log beside it. Closing would do so too, and not say when the disk is full."""
        connection.execute("CHECKPOINT")

    @staticmethod
    def connect(path: str | Path, read_only: bool = False) -> Any:
        import duckdb

        # One thread: what stands in the file must not depend on which of them was first.
        return duckdb.connect(str(path), read_only=read_only, config={"threads": 1})

    @staticmethod
    def columns(connection: Any, table: str) -> list[tuple[str, str]]:
        rows = connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table]
        ).fetchall()
        return [(name, "TEXT" if kind == "VARCHAR" else kind) for name, kind in rows]

    @staticmethod
    def create(table: Table) -> str:
        # No PRIMARY KEY: its index takes most of the time of a load, and one writer keeps the keys unique without it.
        return _create(table, ")")

    @staticmethod
    def make_view(connection: Any, name: str, query: str) -> None:
        connection.execute(f'CREATE OR REPLACE VIEW "{name}" AS {query}')

    @staticmethod
    def upsert(connection: Any, table: Table, data: Any) -> None:
        name, same = table.name, " AND ".join(f't."{column}" = new_rows."{column}"' for column in table.key)
        older = f' AND t."{table.version}" <= new_rows."{table.version}"' if table.version else ""
        connection.register("new_rows", data)
        connection.execute(f'DELETE FROM "{name}" AS t USING new_rows WHERE {same}{older}')
        connection.execute(
            f'INSERT INTO "{name}" SELECT * FROM new_rows WHERE NOT EXISTS (SELECT 1 FROM "{name}" AS t WHERE {same})'
        )
        connection.unregister("new_rows")


def _database(path: str | Path) -> Any:
    ending = Path(path).suffix
    if ending in (".sqlite", ".db"):
        return _Sqlite
    if ending == ".duckdb":
        return _DuckDb
    raise ValueError(f"a database ends in one of {', '.join(ENDINGS)}, got {str(path)!r}")


def _create(table: Table, end: str) -> str:
    firm = {*table.key, table.version}
    columns = (f'"{name}" {kind}{" NOT NULL" if name in firm else ""}' for name, kind in table.columns)
    return f'CREATE TABLE "{table.name}" ({", ".join(columns)}{end}'


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
