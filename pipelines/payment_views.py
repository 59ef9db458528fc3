"""Payment views: the topics of a run become tables of a SQL database (balances, payments, money per minute, balance at a time).

topics on disk → rows by partition → upserts into DuckDB or SQLite. Flags, tables and failures: docs/pipelines/payment_views.md.
"""

import argparse
from pathlib import Path

import apache_beam as beam

from payments.view_tables import DERIVED, TABLES
from payments.views import VIEWS
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_apart, check_output_file, check_topics
from pipelines.registry import REGISTRY
from transforms.partition_views import ViewPartitions
from transforms.sql_views import ENDINGS, UpsertRows
from transforms.topic_files import ReadTopic


class ViewsOptions(JobOptions):
    """Tables of the payment views out of recorded topics."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--input", required=True, help="folder with the recorded topics (the `topics` folder of a run)"
        )
        parser.add_argument("--output", required=True, help="database, .duckdb or .sqlite: made, or brought up to date")


def build_pipeline(p: beam.Pipeline, topics: str | Path, database: str | Path) -> None:
    """Rows of each view from its own topics; one writer upserts them all."""
    rows = []
    for view in VIEWS:
        name = view.__name__.removesuffix("View")
        chunks = [p | f"Read {topic}" >> ReadTopic(topics, topic) for topic in view.topics]
        together = chunks | f"Merge{name}" >> beam.Flatten() if len(chunks) > 1 else chunks[0]
        rows.append(together | f"View{name}" >> ViewPartitions(view, REGISTRY))
    _ = rows | "MergeRows" >> beam.Flatten() | "Upsert" >> UpsertRows(str(database), TABLES, DERIVED)


def run(argv: list[str]) -> None:
    options = parse_options(argv, ViewsOptions)
    check_topics(options.input, [topic for view in VIEWS for topic in view.topics])
    if not options.output.endswith(ENDINGS):
        raise UsageError(f"the name must end with one of {', '.join(ENDINGS)}", f"--output {options.output}")
    check_apart([options.output], [options.input])
    check_output_file(options.output)
    run_job(options, lambda p: build_pipeline(p, options.input, options.output))


if __name__ == "__main__":
    main(run)
