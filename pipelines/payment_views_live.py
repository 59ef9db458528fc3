"""Payment views, live: the topics of a broker become tables in PostgreSQL, brought up to date as records arrive.

topics of Kafka → a row per record → upserts by key and version. Repeats and restarts change nothing. With --once up to the ends of the
topics at launch. Flags, tables and failures: docs/pipelines/payment_views.md.
"""

import argparse
from collections.abc import Iterator

import apache_beam as beam

from payments import topics
from payments.live_views import LIVE_TABLES, LIVE_TOPICS, LIVE_VIEWS, live_row
from payments.topics import SETTINGS
from pipelines.common import UsageError, main
from pipelines.engine import run_job
from pipelines.live_options import BrokerOptions, broker_settings, parse_live
from pipelines.preflight import check_flags, check_places, check_topics, refused
from pipelines.registry import REGISTRY
from stack.ports import Ports
from stack.postgres import USER
from transforms.chunks import Chunk, unpack_chunk
from transforms.errors import BadRecord
from transforms.kafka_settings import KafkaSettings
from transforms.log_chunks import Committed, Earliest, Latest, ReadLog
from transforms.partition_views import BadLog
from transforms.postgres_views import PostgresSettings, UpsertPostgres
from transforms.registry import Registry
from transforms.sql_views import RowBatch, pack_rows
from transforms.tables import Row, Table

GROUP = "payments.views"


class LiveViewsOptions(BrokerOptions):
    """Tables of the payment views, live."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_broker(parser)
        parser.add_argument(
            "--database", default="", help="postgresql://USER@HOST:PORT/NAME; that of the local stack by default"
        )
        parser.add_argument("--password", default="", help="reference to the password: env:NAME or file:/PATH")
        parser.add_argument("--once", action="store_true", help="end where the topics ended at launch")


class MakeLiveRows(beam.PTransform):
    """PCollection[Chunk] of topics with live rows → PCollection[RowBatch]. BadLog for a record that no stage has written."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self.registry = registry

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        registry = self.registry
        return chunks | "Rows" >> beam.FlatMap(lambda chunk: chunk_rows(chunk, registry)).with_output_types(RowBatch)


def chunk_rows(chunk: Chunk, registry: Registry) -> Iterator[RowBatch]:
    """The rows of a chunk, a batch per table."""
    found: dict[str, tuple[Table, list[Row]]] = {}
    for record in unpack_chunk(chunk):
        try:
            event = registry.decode(record.value or b"")
        except BadRecord as error:
            where = f"{chunk.topic}/{chunk.partition}/{record.offset}"
            raise BadLog(f"{where}: {error.code} {error.detail}: not written by a stage of this version") from error
        made = live_row(record, event)
        if made is not None:
            found.setdefault(made[0].name, (made[0], []))[1].append(made[1])
    for table, rows in found.values():
        yield pack_rows(table, rows)


def build_pipeline(p: beam.Pipeline, settings: KafkaSettings, database: PostgresSettings, once: bool = False) -> None:
    """A reader for each topic, and one kind of writer behind all of them."""
    for topic in LIVE_TOPICS:
        chunks = p | f"Read {topic.name}" >> ReadLog(
            settings,
            topic.name,
            topic.partitions,
            start=Earliest() if once else Committed(GROUP),
            end=Latest() if once else None,
            groups=1,
            compacted=topic is topics.BALANCES,
        )
        rows = chunks | f"Rows {topic.name}" >> MakeLiveRows(REGISTRY)
        _ = rows | f"Upsert {topic.name}" >> UpsertPostgres(database, LIVE_TABLES, LIVE_VIEWS)


def database_of(options: LiveViewsOptions) -> PostgresSettings:
    """The database; that of the local stack where none is named."""
    url = options.database or f"postgresql://{USER}@127.0.0.1:{Ports.from_environment().postgres}/{USER}"
    return PostgresSettings(url, options.password or None)


def run(argv: list[str]) -> int:
    once = "--once" in argv
    options, flags = parse_live(argv, LiveViewsOptions, endless=not once)
    settings, database = broker_settings(options), database_of(options)
    if not once and refused([*check_flags(flags, snapshots=None), *check_places(flags)]):
        return 2
    if refused(check_topics(settings, SETTINGS)):
        return 2
    try:
        database.connect().close()
    except Exception as error:  # of the driver, or that it is not installed
        raise UsageError(" ".join(str(error).split()), f"--database {database.place}") from error
    run_job(options, lambda p: build_pipeline(p, settings, database, once))
    return 0


if __name__ == "__main__":
    main(run)
