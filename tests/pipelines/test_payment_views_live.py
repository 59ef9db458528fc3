"""The live views' graph, rows of chunks, and launches that are refused."""

from types import SimpleNamespace

import apache_beam as beam
import pytest

from payments.live_views import LIVE_TABLES, LIVE_TOPICS
from pipelines import payment_views_live
from pipelines.common import UsageError
from pipelines.payment_views_live import LiveViewsOptions, chunk_rows, database_of
from pipelines.registry import REGISTRY
from schemas.payments import PaymentOverdue
from schemas.rails import Record, Tick
from tests.proto import assert_no_pickled_coders
from transforms.chunks import pack_chunk
from transforms.kafka_settings import kafka_settings
from transforms.partition_views import BadLog
from transforms.postgres_views import PostgresSettings
from transforms.row_batches import unpack_rows

SETTINGS = kafka_settings("127.0.0.1:1", environment={})
TABLES = {table.name: table for table in LIVE_TABLES}
DATABASE = PostgresSettings("postgresql://rails@127.0.0.1:1/rails")


def record(offset: int, event: object) -> Record:
    return Record(offset, 5, None, REGISTRY.encode(event), None, ())


def test_the_rows_of_a_chunk_are_a_batch_per_table() -> None:
    events = [Tick(1), PaymentOverdue("p", "ACSP", 3, 9, 12), PaymentOverdue("q", "ACTC", 4, 9, 13)]
    chunk = pack_chunk("payments.overdue", 2, [record(n, event) for n, event in enumerate(events)])
    (batch,) = chunk_rows(chunk, REGISTRY)
    assert batch.table == "overdue"
    rows = [("p", 3, "ACSP", 9, 12), ("q", 4, "ACTC", 9, 13)]
    assert [tuple(row) for row in unpack_rows(TABLES[batch.table], batch)] == rows


def test_what_no_stage_has_written_stops_the_job() -> None:
    chunk = pack_chunk("payments.overdue", 2, [Record(7, 5, None, b"\xff", None, ())])
    with pytest.raises(BadLog, match=r"payments\.overdue/2/7: BAD_MAGIC"):
        list(chunk_rows(chunk, REGISTRY))


@pytest.mark.parametrize("once", [False, True])
def test_no_element_is_pickled(once: bool) -> None:
    pipeline = beam.Pipeline()
    payment_views_live.build_pipeline(pipeline, SETTINGS, DATABASE, once)
    assert_no_pickled_coders(pipeline)
    names = {t.unique_name for t in pipeline.to_runner_api().components.transforms.values()}
    assert {f"Upsert {topic.name}" for topic in LIVE_TOPICS} <= names


def test_the_database_is_the_named_one_or_the_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAM_ON_RAILS_PORTS", "24000")
    assert database_of(LiveViewsOptions([])).url == "postgresql://rails@127.0.0.1:24032/rails"
    named = database_of(LiveViewsOptions(["--database=postgresql://me@127.0.0.1:5/x", "--password=env:SECRET"]))
    assert (named.url, named.password) == ("postgresql://me@127.0.0.1:5/x", "env:SECRET")


def test_launches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    launched: list[object] = []
    monkeypatch.setattr(payment_views_live, "run_job", lambda options, build: launched.append(build))
    monkeypatch.setattr(payment_views_live, "check_topics", lambda *_: [])
    place = "--database=postgresql://rails@127.0.0.1:1/rails"
    with pytest.raises(UsageError, match=r"--database 127\.0\.0\.1:1/rails"):
        payment_views_live.run(["--once", place])
    assert payment_views_live.run([place, "--runner=PrismRunner"]) == 2
    assert capsys.readouterr().err == "refused: --streaming is missing: the job has no end\n"
    connection = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(PostgresSettings, "connect", lambda self: connection)
    assert payment_views_live.run(["--once", place]) == 0 and len(launched) == 1
    monkeypatch.setattr(payment_views_live, "check_topics", lambda *_: ["payments.status: missing"])
    assert payment_views_live.run(["--once", place]) == 2 and len(launched) == 1
