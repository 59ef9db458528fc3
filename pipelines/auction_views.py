"""Auction views: the topics of a run become tables of SQL (auctions, decisions, spreads, prices, placements, alerts, cells).

topics on disk → rows by partition; cells over all partitions, none with fewer than k bidders → upserts into DuckDB or SQLite.
Flags, tables and failures: docs/pipelines/auction_views.md.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import apache_beam as beam

from auctions import topics
from auctions.geo_cells import check_cells, count_cells, rows_of
from auctions.view_tables import CELLS, TABLES
from auctions.views import VIEWS, cell_rows
from pipelines.common import JobOptions, UsageError, check_range, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_apart, check_output_file, check_topics
from pipelines.registry import REGISTRY
from schemas.auctions import AuctionOutcome, BidDecision
from transforms.chunks import Chunk, together, unpack_chunk
from transforms.errors import InputError
from transforms.partition_views import ViewPartitions
from transforms.row_batches import RowBatch, pack_rows
from transforms.sql_views import ENDINGS, UpsertRows
from transforms.topic_files import ReadTopic
from transforms.topic_settings import DAY_MS

K = 5  # least number of bidders that a cell is shown with
WINDOW_DAYS = 28


class ViewsOptions(JobOptions):
    """Tables of the auction views out of recorded topics."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--input", required=True, help="folder with the recorded topics (the `topics` folder of a run)"
        )
        parser.add_argument("--output", required=True, help="database, .duckdb or .sqlite: made, or brought up to date")
        cls.add_cells(parser)

    @staticmethod
    def add_cells(parser: argparse.ArgumentParser) -> None:
        """The flags of the cells."""
        parser.add_argument("--k", type=int, default=K, help="a cell is shown with at least so many bidders")
        parser.add_argument(
            "--window_days", type=int, default=WINDOW_DAYS, help="bids in cells are counted per so many days"
        )


class PrivacyBroken(InputError):
    """Rows of cells would show what they must not; the message says which."""


def build_pipeline(p: beam.Pipeline, folder: str | Path, database: str | Path, k: int, window_ms: int) -> None:
    """Rows of each view from its own topics, and of the cells; one writer upserts them all."""
    rows = []
    for view in VIEWS:
        name = view.__name__.removesuffix("View")
        chunks = p | f"Read {view.topics[0]}" >> ReadTopic(folder, view.topics[0])
        rows.append(chunks | f"View{name}" >> ViewPartitions(view, REGISTRY))
        if view.topics[0] == topics.HISTORY.name:
            rows.append(chunks | "ViewCells" >> ViewCells(k, window_ms))
    _ = rows | "MergeRows" >> beam.Flatten() | "Upsert" >> UpsertRows(str(database), TABLES)


class ViewCells(beam.PTransform):
    """PCollection[Chunk] of auction.bids.history → PCollection[RowBatch] of cells, none with fewer than k bidders.

    Cells cross partitions, so all decisions pass through one worker and its memory. Raises PrivacyBroken.
    """

    def __init__(self, k: int, window_ms: int) -> None:
        super().__init__()
        self.k, self.window_ms = k, window_ms

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return (
            chunks
            | "Together" >> beam.Map(together).with_output_types(tuple[int, Chunk])
            | "Group" >> beam.GroupByKey()
            | "Count" >> beam.FlatMap(_cells, self.k, self.window_ms).with_output_types(RowBatch)
        )


def _cells(group: tuple[int, Iterable[Chunk]], k: int, window_ms: int) -> Iterator[RowBatch]:
    decode = REGISTRY.decode
    ordered = sorted(group[1], key=lambda chunk: (chunk.partition, chunk.offset))
    found = (decode(record.value or b"") for chunk in ordered for record in unpack_chunk(chunk))
    events = [event for event in found if isinstance(event, BidDecision | AuctionOutcome)]
    rows = list(rows_of(count_cells(events, window_ms), k))
    if wrong := check_cells(rows, events, window_ms, k):
        raise PrivacyBroken(f"cells: {wrong[0]}")
    if rows:
        yield pack_rows(CELLS, cell_rows(rows))


def check_flags(options: JobOptions) -> None:
    """UsageError for a flag of `add_cells` that is out of range."""
    check_range(options, k=(2, 1_000_000), window_days=(1, 3_650))


def run(argv: list[str]) -> None:
    options = parse_options(argv, ViewsOptions)
    check_flags(options)
    check_topics(options.input, [topic for view in VIEWS for topic in view.topics])
    if not options.output.endswith(ENDINGS):
        raise UsageError(f"the name must end with one of {', '.join(ENDINGS)}", f"--output {options.output}")
    check_apart([options.output], [options.input])
    check_output_file(options.output)
    window_ms = options.window_days * DAY_MS
    run_job(options, lambda p: build_pipeline(p, options.input, options.output, options.k, window_ms))


if __name__ == "__main__":
    main(run)
