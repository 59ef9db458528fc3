"""The views database, DuckDB or SQLite, opened for reading."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from payments.view_tables import DERIVED, TABLES


class Connection(Protocol):
    """What duckdb.DuckDBPyConnection and sqlite3.Connection have in common."""

    def execute(self, query: str, parameters: Any = ..., /) -> Any: ...


class NoViews(Exception):
    """A file is not a database of payment views; the message says why."""


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
            raise NoViews(f"cannot be opened ({str(error).splitlines()[0]})") from error
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
