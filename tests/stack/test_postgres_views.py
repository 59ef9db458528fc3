"""Upserts into a real PostgreSQL: repeats, old versions, two writers, and a server that goes away."""

import os
import pickle
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import Timestamp

from stack.postgres import Postgres
from stack.services import wait_until
from transforms.postgres_views import PostgresError, PostgresSettings, PostgresViews, UpsertPace, UpsertPostgres
from transforms.row_batches import RowBatch, pack_rows
from transforms.tables import Table, columns

PORT = int(os.environ.get("BEAM_ON_RAILS_TEST_PORTS", "20600")) + 40
ALL_TYPES = "id TEXT, part BIGINT, version BIGINT, sum DECIMAL(38,0), ratio DOUBLE, open BOOLEAN, raw BLOB, note TEXT"
TABLE = Table("kinds", columns(ALL_TYPES), ("id", "part"), "version")
SMALL = Table("small", columns("id TEXT, minor BIGINT, version BIGINT"), ("id",), "version")
KEYS = Table("keys", columns("id TEXT, version BIGINT"), ("id", "version"), "version")


@pytest.fixture(scope="module")
def server(stack_folder: Path) -> Iterator[Postgres]:
    made = Postgres(stack_folder / "views", PORT)
    made.start()
    made.wait()
    yield made
    made.process.stop()


@pytest.fixture
def settings(server: Postgres) -> PostgresSettings:
    settings = PostgresSettings(server.url)
    with settings.connect() as connection:
        connection.execute("DROP VIEW IF EXISTS rich")
        connection.execute("DROP TABLE IF EXISTS kinds, small, keys")
    return settings


def rows(settings: PostgresSettings, table: Table) -> list[Any]:
    with settings.connect() as connection:
        return connection.execute(f'SELECT * FROM "{table.name}" ORDER BY {", ".join(table.key)}').fetchall()


def views(settings: PostgresSettings, *tables: Table, patience_s: float = 30) -> PostgresViews:
    made = PostgresViews(settings, tables, patience_s)
    made.make()
    return made


def test_all_types_and_nulls(settings: PostgresSettings):
    database = views(settings, TABLE)
    full = ("a", 1, 5, 10**37, 0.5, True, b"\0\xff", "tab\there\nnew\\line")
    empty = ("b", -(1 << 63), (1 << 63) - 1, None, None, None, None, None)
    assert database.upsert([pack_rows(TABLE, [full, empty])]) == [("kinds", 2)]
    assert rows(settings, TABLE) == [full, empty]
    database.close()


def test_a_nul_in_text_is_replaced(settings: PostgresSettings):
    database = views(settings, TABLE)
    database.upsert([pack_rows(TABLE, [("a\0", 1, 5, None, None, None, None, "\0b\0")])])
    assert [(row[0], row[7]) for row in rows(settings, TABLE)] == [("a\ufffd", "\ufffdb\ufffd")]


def test_only_newer_versions_are_written(settings: PostgresSettings):
    database = views(settings, SMALL)
    database.upsert([pack_rows(SMALL, [("a", 10, 2), ("b", 1, 1)])])
    for batch in ([("a", 99, 1)], [("a", 99, 2)], [("a", 10, 2), ("a", 5, 1)]):  # older, the same again, both
        database.upsert([pack_rows(SMALL, batch)])
        assert rows(settings, SMALL) == [("a", 10, 2), ("b", 1, 1)]
    database.upsert([pack_rows(SMALL, [("a", 11, 3)]), pack_rows(SMALL, [("a", 12, 4), ("c", 0, 0)])])
    assert rows(settings, SMALL) == [("a", 12, 4), ("b", 1, 1), ("c", 0, 0)]


def test_a_table_of_keys_alone(settings: PostgresSettings):
    database = views(settings, KEYS)
    for _ in range(2):
        database.upsert([pack_rows(KEYS, [("a", 1), ("a", 2)])])
    assert rows(settings, KEYS) == [("a", 1), ("a", 2)]


def test_any_order_and_any_repeats_give_the_same(settings: PostgresSettings):
    rng = random.Random(5)
    history = [(f"k{n % 7}", rng.randrange(1000), version) for version, n in enumerate(range(200))]
    database = views(settings, SMALL)
    batches = [history[i : i + 9] for i in range(0, 200, 9)]
    shuffled = [*batches, *rng.sample(batches, 10)]
    rng.shuffle(shuffled)
    for batch in shuffled:
        database.upsert([pack_rows(SMALL, batch)])
    newest = {row[0]: row for row in history}
    assert rows(settings, SMALL) == sorted(newest.values())


def test_two_writers_at_once(settings: PostgresSettings):
    made = [views(settings, SMALL) for _ in range(2)]
    keys = [f"k{n:03d}" for n in range(300)]

    def write(database: PostgresViews, seed: int) -> None:
        rng = random.Random(seed)
        for version in range(20):
            mixed = rng.sample(keys, len(keys))
            database.upsert([pack_rows(SMALL, [(key, version, version) for key in mixed])])

    threads = [threading.Thread(target=write, args=(each, n)) for n, each in enumerate(made)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(settings, SMALL) == [(key, 19, 19) for key in keys]


def test_tables_are_made_by_several_at_once(settings: PostgresSettings):
    failed: list[Exception] = []

    def make() -> None:
        try:
            views(settings, TABLE, SMALL).close()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_table_with_other_columns_is_one_line(settings: PostgresSettings):
    views(settings, SMALL).close()
    other = SMALL._replace(columns=columns("id TEXT, minor DECIMAL(38,0), version BIGINT"))
    with pytest.raises(
        PostgresError, match=r"table small has the columns \(id TEXT, minor BIGINT.*should have .*NUMERIC"
    ):
        views(settings, other)


def test_a_lost_connection_is_made_again(settings: PostgresSettings):
    database = views(settings, SMALL)
    database.upsert([pack_rows(SMALL, [("a", 1, 1)])])
    with settings.connect() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'rails'"
        )
    database.upsert([pack_rows(SMALL, [("a", 2, 2)])])
    assert rows(settings, SMALL) == [("a", 2, 2)]


def test_a_server_that_comes_back_is_waited_for(settings: PostgresSettings, server: Postgres):
    database = views(settings, SMALL)
    server.process.stop()
    late = threading.Timer(1.0, server.start)
    late.start()
    database.upsert([pack_rows(SMALL, [("a", 2, 2)])])
    late.join()
    server.wait()
    assert rows(settings, SMALL) == [("a", 2, 2)]


def test_a_server_that_stays_away_is_one_line(server: Postgres):
    nobody = PostgresSettings(server.url.replace(str(PORT), str(PORT + 1)))
    start = time.monotonic()
    with pytest.raises(PostgresError, match=rf"^127.0.0.1:{PORT + 1}/rails: .*refused"):
        PostgresViews(nobody, [SMALL], patience_s=0.5).make()
    assert time.monotonic() - start < 10


def test_what_the_server_refuses_is_not_tried_again(settings: PostgresSettings, server: Postgres):
    start = time.monotonic()
    nobody = PostgresSettings(server.url.replace("rails@", "nobody@"))
    with pytest.raises(PostgresError, match=r'role "nobody" does not exist'):
        PostgresViews(nobody, [SMALL], patience_s=30).make()
    with pytest.raises(PostgresError, match="syntax error"):
        PostgresViews(settings, [SMALL], patience_s=30).make({"rich": "SELEKT 1"})
    assert time.monotonic() - start < 15


def test_a_pipeline(make_pipeline: Any, settings: PostgresSettings):
    batches = [pack_rows(SMALL, [(f"k{n}", n, 1), ("all", n, n)]) for n in range(10)]
    query = {"rich": "SELECT id FROM small WHERE minor > 5"}
    for _ in range(2):  # twice is once
        with make_pipeline() as p:
            given = p | beam.Create(batches, reshuffle=False).with_output_types(RowBatch)
            sent = given | UpsertPostgres(settings, [SMALL], query, UpsertPace(batch_rows=8))
            assert_that(sent | beam.Map(lambda pair: pair[0]) | beam.Distinct(), equal_to(["small"]))
    assert len(rows(settings, SMALL)) == 11 and rows(settings, SMALL)[0] == ("all", 9, 9)
    with settings.connect() as connection:
        assert len(connection.execute("SELECT * FROM rich").fetchall()) == 5
    with pytest.raises(Exception, match="rows of table kinds, which is not one of small"), make_pipeline() as p:
        given = p | beam.Create([pack_rows(TABLE, [])], reshuffle=False).with_output_types(RowBatch)
        given | UpsertPostgres(settings, [SMALL])


class TestConnections:
    """Instances of the DoFn, as many as a runner likes, share the connections of their process."""

    def instances(self, settings: PostgresSettings, count: int) -> list[Any]:
        do = UpsertPostgres(settings, [SMALL])._upsert
        found = [pickle.loads(pickle.dumps(do)) for _ in range(count)]
        for one in found:
            one.setup()
            one.start_bundle()
        return found

    def open_now(self, settings: PostgresSettings) -> int:
        """Connections to the server, without the one that asks."""
        query = "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
        with settings.connect() as connection:
            return int(connection.execute(query).fetchone()[0])

    def test_bundles_after_each_other_need_one(self, settings: PostgresSettings):
        before = self.open_now(settings)
        made = self.instances(settings, 30)
        for number, one in enumerate(made):
            assert list(one.process(pack_rows(SMALL, [("a", number, number)]), Timestamp(0))) == []
            assert [value.value for value in one.finish_bundle()] == [("small", 1)]
        assert self.open_now(settings) == before + 1
        assert rows(settings, SMALL) == [("a", 29, 29)]
        for one in made[:-1]:
            one.teardown()
        assert self.open_now(settings) == before + 1
        made[-1].teardown()
        assert wait_until(lambda: self.open_now(settings) == before, 10)

    def test_two_at_once_need_two(self, settings: PostgresSettings):
        one, other = self.instances(settings, 2)
        with one._database() as first, other._database() as second:
            assert first is not second
            second.upsert([pack_rows(SMALL, [("b", 1, 1)])])
        for each in (one, other):
            each.teardown()
        assert rows(settings, SMALL) == [("b", 1, 1)]
