"""ReadLog, windows and a view in PostgreSQL as one live job: `python -m tests.stack.chunks_job`, with Beam's flags."""

import argparse
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from schemas.rails import Record
from transforms.aggregates import Count
from transforms.kafka_settings import kafka_settings
from transforms.log_chunks import ReadLog
from transforms.postgres_views import PostgresSettings, UpsertPostgres
from transforms.row_batches import RowBatch, pack_rows
from transforms.rows import RowsOf
from transforms.tables import Table, columns
from transforms.windows import AggregateByWindow, Fixed, WindowRow

TOPIC, PARTITIONS = "chunks-job", 4
COUNTS = Table(
    "chunk_counts", columns("name TEXT, start BIGINT, records BIGINT, version BIGINT"), ("name", "start"), "version"
)


def row_of(record: Record) -> tuple[str, int, int]:
    """Counted by key, at the time of the log."""
    return (record.key or b"").decode(), record.at, 1


def pack(row: WindowRow) -> RowBatch:
    return pack_rows(COUNTS, [(row.key, row.start, row.value, row.index)])


def build(pipeline: beam.Pipeline, bootstrap: str, database: str) -> None:
    counted = (
        pipeline
        | ReadLog(kafka_settings(bootstrap, environment={}), TOPIC, PARTITIONS, groups=2)
        | AggregateByWindow(RowsOf(row_of), Fixed(1000), Count())
    )
    rows = counted.results | "Pack" >> beam.Map(pack).with_output_types(RowBatch)
    _ = rows | UpsertPostgres(PostgresSettings(database), [COUNTS])


def run(argv: Sequence[str]) -> None:
    """Launches the job and stays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--database", required=True)
    args, rest = parser.parse_known_args(argv)
    pipeline = beam.Pipeline(options=PipelineOptions([*rest, "--streaming"]))
    build(pipeline, args.bootstrap, args.database)
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    run(sys.argv[1:])
