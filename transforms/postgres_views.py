"""Live views in PostgreSQL: idempotent upserts by key and version, a transaction for each batch.

A row is written only over an older version of itself. So a batch that is sent again, a bundle that is tried again, a worker that has
been replaced and still writes, and batches in any order leave the same tables. Needs the extra `postgres`.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import apache_beam as beam
from apache_beam.transforms.core import DoFn
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from transforms.errors import InputError, one_line
from transforms.row_batches import RowBatch, newest_rows, plain_values, read_batches
from transforms.secret_references import check_reference, resolve
from transforms.sql_views import check_tables
from transforms.tables import Table

TYPES = {"BLOB": "BYTEA", "DECIMAL(38,0)": "NUMERIC(38,0)", "DOUBLE": "DOUBLE PRECISION"}
"""What PostgreSQL calls the types of views, where it differs."""

_LOCAL = ("127.0.0.1", "::1", "localhost")
_PARAMETERS = ("application_name", "connect_timeout", "sslcert", "sslkey", "sslmode", "sslrootcert")
_LOCK = 0x7261696C73  # of those who make tables; any number that all of them use


class PostgresError(InputError):
    """A database that is not there, refuses us, or has other tables; one line with its place, never with the password."""


@dataclass(frozen=True)
class PostgresSettings:
    """Where a database is: postgresql://USER@HOST:PORT/DATABASE, and a reference to the password (`secret_references`).

    Beyond this machine the server must show a certificate (`?sslmode=verify-full`). No other parameters than those for TLS, the name and
    the time to connect: some load code. PostgresError in one line.
    """

    url: str
    password: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username:
            raise PostgresError("the database must be postgresql://USER@HOST:PORT/DATABASE")
        if parts.password is not None:
            raise PostgresError(
                f"{self.place}: the address holds a password: give a reference to it, env:NAME or file:/PATH"
            )
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name, value in parameters.items():
            if name not in _PARAMETERS or value.startswith("engine:"):
                raise PostgresError(f"{self.place}: {one_line(name)} may not be set")
        if parts.hostname not in _LOCAL and parameters.get("sslmode") != "verify-full":
            raise PostgresError(f"{self.place}: is on another machine, so sslmode must be verify-full")
        if self.password is not None:
            check_reference("password", self.password)

    @property
    def place(self) -> str:
        """What messages call it."""
        parts = urlsplit(self.url)
        return one_line(f"{parts.hostname}:{parts.port or 5432}{parts.path}")

    def connect(self) -> Any:
        """A connection, on a worker; raises what psycopg raises."""
        import psycopg

        password = {} if self.password is None else {"password": resolve("password", self.password)}
        return psycopg.connect(self.url, **{"connect_timeout": 10, **password})


@dataclass(frozen=True)
class UpsertPace:
    """batch_rows: the most that are held before they are sent; patience_s: for how long a database that went away is tried again."""

    batch_rows: int = 20_000
    patience_s: float = 60.0

    def __post_init__(self) -> None:
        if type(self.batch_rows) is not int or self.batch_rows < 1:
            raise ValueError(f"UpsertPace: batch_rows must be a whole number from 1, got {self.batch_rows!r}")
        if not self.patience_s >= 0:
            raise ValueError(f"UpsertPace: patience_s must be at least 0, got {self.patience_s!r}")


class UpsertPostgres(beam.PTransform):
    """PCollection[RowBatch], bounded or not → PCollection[tuple[str, int]]: rows into tables; gives (table, number of keys) per batch.

    Of the rows of a key the one with the largest version stays; of equal versions the first that came, and they must not differ. Every
    table needs a version. What a bundle brings is sent in one transaction, or in several of `pace.batch_rows` rows. Tables that are
    missing, and the `views` (name → SELECT), are made when a worker starts. A NUL in text, which PostgreSQL cannot hold, becomes U+FFFD.

    In the run: PostgresError when the database stays away longer than `pace.patience_s`, refuses us, or has a table with other columns.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        tables: Sequence[Table],
        views: Mapping[str, str] | None = None,
        pace: UpsertPace = UpsertPace(),
    ) -> None:
        super().__init__()
        if not isinstance(settings, PostgresSettings):
            raise ValueError(f"settings must be PostgresSettings, got {type(settings).__name__}")
        check_tables(tables, views or {})
        for table in tables:
            if table.version is None:
                raise ValueError(f"table {table.name}: has no version, so what came last would stay")
        self._upsert = _Upsert(settings, tuple(tables), dict(views or {}), pace)

    def expand(self, batches: Any) -> Any:
        return batches | "Upsert" >> beam.ParDo(self._upsert).with_output_types(tuple[str, int])


class _Upsert(DoFn):
    def __init__(
        self, settings: PostgresSettings, tables: tuple[Table, ...], views: dict[str, str], pace: UpsertPace
    ) -> None:
        self.settings, self.tables, self.views, self.pace = settings, tables, views, pace
        self.names = {table.name for table in tables}
        self._name = uuid.uuid4().hex  # the same in all instances, for they are copies of this one

    def setup(self) -> None:
        with _lock:
            _shared.setdefault(self._name, _Shared()).users += 1
        with self._database():  # the tables are made before the first rows come
            pass

    def teardown(self) -> None:
        with _lock:
            shared = _shared[self._name]
            shared.users -= 1
            if shared.users:
                return
            del _shared[self._name]
        for database in shared.idle:
            database.close()

    @contextmanager
    def _database(self) -> Iterator["PostgresViews"]:
        """One that no other instance uses meanwhile."""
        idle = _shared[self._name].idle
        with _lock:
            database = idle.pop() if idle else None
        if database is None:
            database = PostgresViews(self.settings, self.tables, self.pace.patience_s)
            database.make(self.views)
        try:
            yield database
        finally:
            with _lock:
                idle.append(database)

    def start_bundle(self) -> None:
        self._held: list[RowBatch] = []
        self._bytes, self._rows, self._timestamp = 0, 0, None

    def process(self, batch: RowBatch, timestamp: Any = DoFn.TimestampParam) -> Iterator[tuple[str, int]]:
        if batch.table not in self.names:
            raise ValueError(f"rows of table {batch.table}, which is not one of {', '.join(sorted(self.names))}")
        self._held.append(batch)
        self._timestamp = timestamp
        self._rows += batch_rows(batch)
        if self._rows >= self.pace.batch_rows:
            yield from self._send()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._held:
            for sent in self._send():
                yield WindowedValue(sent, self._timestamp, (GlobalWindow(),))

    def _send(self) -> list[tuple[str, int]]:
        held, self._held, self._rows = self._held, [], 0
        with self._database() as database:
            return database.upsert(held)


class _Shared:
    """What the instances of one `_Upsert` in this process share: connections.

    A worker keeps the instances of a bundle until its checkpoint is complete, where something is to be finalized then
    (docs/beam-on-flink.md); with a connection each they would use up the server's.
    """

    def __init__(self) -> None:
        self.users = 0
        self.idle: list[PostgresViews] = []


_shared: dict[str, _Shared] = {}
_lock = threading.Lock()


def batch_rows(batch: RowBatch) -> int:
    """The number of rows of a batch."""
    import pyarrow as pa

    return sum(part.num_rows for part in pa.ipc.open_stream(batch.rows))


class PostgresViews:
    """The tables of a view in a database. Not for two threads at once. It connects when it must, and again when it has to."""

    def __init__(self, settings: PostgresSettings, tables: Sequence[Table], patience_s: float = 60.0) -> None:
        self.settings, self.tables, self.patience_s = settings, tuple(tables), patience_s
        self._connection: Any = None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def make(self, views: Mapping[str, str] | None = None) -> None:
        """Makes what is missing; PostgresError for a table that is there with other columns."""

        def make(cursor: Any) -> None:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])  # two at once would disturb one another
            for table in self.tables:
                cursor.execute(_create(table))
                cursor.execute(_COLUMNS, [f'"{table.name}"'])
                found, wanted = cursor.fetchall(), _columns(table)
                if found != wanted:
                    there, should = (", ".join(map(" ".join, each)) for each in (found, wanted))
                    raise PostgresError(
                        f"{self.settings.place}: table {table.name} has the columns ({there}), should have ({should})"
                    )
            for name, query in (views or {}).items():
                cursor.execute(f'CREATE OR REPLACE VIEW "{name}" AS {query}')

        self._transaction(make)

    def upsert(self, batches: Sequence[RowBatch]) -> list[tuple[str, int]]:
        """All rows of the batches in one transaction; gives (table, number of keys given)."""
        found = []
        for table in self.tables:
            mine = [batch for batch in batches if batch.table == table.name]
            if mine:
                # In order of the keys, as everybody takes them: two writers then wait for one another, but not in a circle.
                found.append((table, newest_rows(table, read_batches(table, mine))))

        def send(cursor: Any) -> None:
            for table, rows in found:
                _upsert(cursor, table, rows)

        self._transaction(send)
        return [(table.name, len(rows)) for table, rows in found]

    def _transaction(self, work: Callable[[Any], None]) -> None:
        """Does it once, however often it has to be tried: what was committed without our hearing of it is a repeat that changes nothing."""
        import psycopg

        again = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UniqueViolation)
        end, wait = time.monotonic() + self.patience_s, 0.05
        while True:
            try:
                with self._refused():
                    if self._connection is None:
                        self._connection = self.settings.connect()
                    with self._connection.transaction(), self._connection.cursor() as cursor:
                        work(cursor)
                    return
            except again as error:
                self.close()
                if time.monotonic() + wait > end:
                    raise PostgresError(f"{self.settings.place}: {one_line(str(error).strip())}") from None
                time.sleep(wait)
                wait = min(2 * wait, 2.0)
            except BaseException:
                self.close()
                raise

    @contextmanager
    def _refused(self) -> Iterator[None]:
        """What trying again does not cure."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            if _may_pass(error):
                raise
            raise PostgresError(f"{self.settings.place}: {one_line(str(error).strip())}") from None


# A server that is starting, stopping or overloaded (57, 53), conflicts (40, and those of two that make one table), lost connections (08).
_PASSING = ("08", "40", "53", "57", "23505")
# What a server says of these when it refuses a connection, where psycopg has no code.
_AWAY = ("starting up", "shutting down", "in recovery", "too many", "remaining connection slots")


def _may_pass(error: Any) -> bool:
    """Whether it is worth trying again."""
    if error.sqlstate is not None:
        return bool(error.sqlstate.startswith(_PASSING))
    text = str(error)
    return "FATAL:" not in text or any(word in text for word in _AWAY)


_COLUMNS = (
    "SELECT attname, upper(format_type(atttypid, atttypmod)) FROM pg_attribute "
    "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)


def _columns(table: Table) -> list[tuple[str, str]]:
    return [(name, TYPES.get(kind, kind)) for name, kind in table.columns]


def _create(table: Table) -> str:
    firm = {*table.key, table.version}
    columns = (f'"{name}" {kind}{" NOT NULL" if name in firm else ""}' for name, kind in _columns(table))
    return f'CREATE TABLE IF NOT EXISTS "{table.name}" ({", ".join(columns)}, PRIMARY KEY ({_quoted(table.key)}))'


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _upsert(cursor: Any, table: Table, rows: Any) -> None:
    """Through a table of this transaction alone: COPY is the fastest way in."""
    new = f"new_{table.name}"
    cursor.execute(f'CREATE TEMP TABLE IF NOT EXISTS "{new}" (LIKE "{table.name}") ON COMMIT DELETE ROWS')
    with cursor.copy(f'COPY "{new}" ({_quoted(table.names)}) FROM STDIN') as copy:
        for row in zip(*map(_values, rows.columns), strict=True):
            copy.write_row(row)
    others = [name for name in table.names if name not in table.key]
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in others)
    newer = f'excluded."{table.version}" > "{table.name}"."{table.version}"'
    action = f"UPDATE SET {changes} WHERE {newer}" if changes else "NOTHING"
    cursor.execute(
        f'INSERT INTO "{table.name}" SELECT * FROM "{new}" ORDER BY {_quoted(table.key)} '
        f"ON CONFLICT ({_quoted(table.key)}) DO {action}"
    )


def _values(column: Any) -> list[Any]:
    values = plain_values(column)
    if any(type(value) is str and "\0" in value for value in values):
        return [value.replace("\0", "\ufffd") if type(value) is str else value for value in values]
    return values
