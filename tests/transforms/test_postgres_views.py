"""Where a database may be, and what its tables must have. With a real one: tests/stack/test_postgres_views.py."""

import pickle
from typing import Any

import apache_beam as beam
import pytest

from tests.proto import assert_no_pickled_coders
from transforms.postgres_views import PostgresError, PostgresSettings, UpsertPace, UpsertPostgres, batch_rows
from transforms.row_batches import RowBatch, pack_rows
from transforms.secret_references import SecretError
from transforms.tables import Table, columns

TABLE = Table("accounts", columns("id TEXT, minor BIGINT, version BIGINT"), ("id",), "version")
LOCAL = PostgresSettings("postgresql://rails@127.0.0.1:1/rails")


def test_places():
    assert LOCAL.place == "127.0.0.1:1/rails"
    far = PostgresSettings(
        "postgresql://rails@db.example/rails?sslmode=verify-full&sslrootcert=/ca.pem", "env:PASSWORD"
    )
    assert far.place == "db.example:5432/rails"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://a@b/c", "must be postgresql://"),
        ("postgresql:///c", "must be postgresql://"),
        ("postgresql://b/c", "must be postgresql://"),
        ("postgresql://a:canary@b/c", "holds a password"),
        ("postgresql://a@127.0.0.1/c?options=-cx", "options may not be set"),
        ("postgresql://a@127.0.0.1/c?service=x", "service may not be set"),
        ("postgresql://a@127.0.0.1/c?sslkey=engine:x", "sslkey may not be set"),
        ("postgresql://a@db.example/c", "sslmode must be verify-full"),
        ("postgresql://a@db.example/c?sslmode=require", "sslmode must be verify-full"),
    ],
)
def test_places_that_are_refused(url: str, message: str):
    with pytest.raises(PostgresError, match=message) as caught:
        PostgresSettings(url)
    assert "canary" not in str(caught.value) and "\n" not in str(caught.value)


def test_passwords_are_references(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SecretError, match="password is a secret"):
        PostgresSettings(LOCAL.url, "canary")
    monkeypatch.setenv("PASSWORD", "canary")
    settings = PostgresSettings(LOCAL.url, "env:PASSWORD")
    assert b"canary" not in pickle.dumps(settings) and "canary" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": "postgresql://"}, "settings must be PostgresSettings"),
        ({"tables": [TABLE._replace(version=None)]}, "table accounts: has no version"),
        ({"tables": [TABLE, TABLE]}, "two tables or views of one name"),
        ({"views": {"x y": "SELECT 1"}}, "not a name of a table, column or view"),
    ],
)
def test_arguments(change: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        UpsertPostgres(**{"settings": LOCAL, "tables": [TABLE], **change})


@pytest.mark.parametrize("change", [{"batch_rows": 0}, {"batch_rows": True}, {"patience_s": -1}])
def test_paces_that_cannot_be(change: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(change))):
        UpsertPace(**change)


def test_graph():
    pipeline = beam.Pipeline()
    batches = pipeline | beam.Create([pack_rows(TABLE, [])], reshuffle=False).with_output_types(RowBatch)
    batches | UpsertPostgres(LOCAL, [TABLE])
    assert_no_pickled_coders(pipeline)


def test_rows_are_counted_without_reading_them():
    assert batch_rows(pack_rows(TABLE, [("a", 1, 1), ("b", 2, 1)])) == 2
    assert batch_rows(pack_rows(TABLE, [])) == 0


def test_nobody_there_is_one_line():
    with pytest.raises(Exception, match=r"127.0.0.1:1/rails: .*refused") as caught, beam.Pipeline() as p:
        batches = p | beam.Create([pack_rows(TABLE, [])], reshuffle=False).with_output_types(RowBatch)
        batches | UpsertPostgres(LOCAL, [TABLE], pace=UpsertPace(patience_s=0.1))
    assert "PostgresError" in str(caught.value) or isinstance(caught.value, PostgresError)
