"""The views database, DuckDB or SQLite, opened for reading."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args, get_type_hints

from payments.view_tables import DERIVED, TABLES
from transforms.errors import InputError

Line = TypeVar("Line")
Fields = tuple[tuple[str, tuple[type, ...]], ...]
"""Names and accepted types of the fields of a named tuple."""


class Connection(Protocol):
    """What duckdb.DuckDBPyConnection and sqlite3.Connection have in common."""

    def execute(self, query: str, parameters: Any = ..., /) -> Any: ...


class NoViews(InputError):
    """A file is not a database of payment views, or holds what they never say; the message says why."""


@contextmanager
def open_views(path: Path) -> Iterator[Connection]:
    """A connection that cannot write. Raises NoViews."""
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(b"SQLite format 3\x00"):
        connection: Any = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    elif start[8:12] == b"DUCK":
        import duckdb

        try:
            connection = duckdb.connect(str(path), read_only=True)
        except duckdb.Error as error:
            raise NoViews(f"cannot be opened ({_one_line(error)})") from error
    else:
        raise NoViews("is neither a DuckDB nor a SQLite database")
    with closing(connection):
        _check_tables(connection)
        yield connection


def _check_tables(db: Connection) -> None:
    for name in (*(table.name for table in TABLES), *DERIVED):
        try:
            db.execute(f"SELECT * FROM {name} LIMIT 0").fetchall()
        except Exception as error:  # each database has its own errors
            raise NoViews(f"has no table or view {name}: it is not a database of payment_views") from error


def query_rows(db: Connection, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query, with integers for DuckDB's decimals. Raises NoViews for what the database refuses."""
    try:
        rows = db.execute(query).fetchall()
    except Exception as error:  # each database has its own errors
        raise NoViews(f"does not answer as payment_views do ({_one_line(error)})") from error
    return [tuple(int(value) if type(value) is Decimal else value for value in row) for row in rows]


def query_lines(db: Connection, query: str, line: type[Line]) -> list[Line]:
    """The rows of a query as named tuples of the class `line`. Raises NoViews also for a value, or NULL, that its annotations exclude."""
    rows, fields = query_rows(db, query), _fields(line)
    _check_values(rows, fields)
    return [line(*row) for row in rows]


def query_by_currency(db: Connection, query: str, line: type[Line]) -> dict[str, list[Line]]:
    """The rows of a query by their first column, the currency; the rest of each as `query_lines` gives it."""
    rows, fields = query_rows(db, query), (("currency", (str,)), *_fields(line))
    _check_values(rows, fields)
    lines: dict[str, list[Line]] = {}
    for currency, *values in rows:
        lines.setdefault(currency, []).append(line(*values))
    return lines


def _check_values(rows: list[tuple[Any, ...]], fields: Fields) -> None:
    """Nobody but payment_views should write here, but SQLite takes any value in any column, and a database may be edited."""
    for row in rows:
        for (name, kinds), value in zip(fields, row, strict=True):
            if type(value) not in kinds:
                said = "NULL" if value is None else f"a value of type {type(value).__name__}"
                raise NoViews(f"has {said} as {name}, which payment_views never write")


def _fields(line: type) -> Fields:
    return tuple((name, get_args(kind) or (kind,)) for name, kind in get_type_hints(line).items())


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
