"""Import: any CSV of bids by a small mapping file becomes raw items, bids and a tick past the last end, for the pipeline `auctions`.

CSV files → map each row to its item and bid → all of them in the order of a log, on one worker → one Avro container of raw records.
A row that cannot be mapped goes to `<output>.rejected.csv` with its line and the reason: rows = bids + rejected.
Flags, the mapping file, outputs and failures: docs/pipelines/import_bids.md.
"""

import argparse
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import apache_beam as beam

from auctions.imports import Imported, map_row, order_events
from auctions.intake import client_key
from auctions.mapping import SHIPPED, BidMapping, load_mapping
from payments.mapping import BadMapping
from pipelines import csv_imports
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.csv_imports import CountAs, add_flags, check_output, describe_counts, rejected, run_import, write_counts
from pipelines.files import expand_home
from pipelines.registry import REGISTRY
from schemas.rails import Record
from transforms.csv_files import BadCsvRow, CsvFormat, CsvRow, ReadCsv, WriteBadRows
from transforms.errors import BadRecord
from transforms.record_files import write_record_file

Row = tuple[str, int, int, bytes, bytes]
"""A mapped row: its file and line, the time (ms) of the bid, and the values of its item and bid."""


class ImportOptions(JobOptions):
    """Any CSV of bids, by a mapping file, to raw records that the pipeline `auctions` takes."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, SHIPPED)


def read_mapping(name: str) -> BidMapping:
    """The mapping of a file, or the shipped one of that name; UsageError says what is wrong with it."""
    try:
        return load_mapping(str(expand_home(name)))
    except (BadMapping, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"not a mapping ({error})", f"--mapping {name}") from error


def csv_format(mapping: BidMapping) -> CsvFormat:
    """The mapping says how its files are written."""
    try:
        return CsvFormat(columns=mapping.columns, header=True, **mapping.csv)
    except (TypeError, ValueError) as error:
        raise UsageError(f"not a mapping (csv: {error})", "--mapping") from error


def build_pipeline(
    p: beam.Pipeline, read: ReadCsv, mapping: BidMapping, output: str, rejects: str, counts: str
) -> None:
    """Writes the container, the rejected rows, and the counts as lines `[what, how many]`."""
    csvs = p | "ReadCsv" >> read
    step = beam.ParDo(_MapRow(mapping, read.form)).with_output_types(Row, rejected=BadCsvRow)
    mapped = csvs.rows | "MapRows" >> step.with_outputs("rejected", main="rows")
    # Without any row there is still a container to write, an empty one.
    nothing = p | "Empty" >> beam.Create([("", 0, 0, b"", b"")], reshuffle=False).with_output_types(Row)
    items = (
        (mapped.rows, nothing)
        | "WithEmpty" >> beam.Flatten()
        | "Together" >> beam.Map(_together).with_output_types(tuple[int, Row])
        | "Group" >> beam.GroupByKey()
        | "WriteRecords" >> beam.Map(write_log, output).with_output_types(tuple[str, int])
    )
    refused = (csvs.bad, mapped.rejected) | "MergeRejected" >> beam.Flatten() | "WriteRejected" >> WriteBadRows(rejects)
    counted = (
        csvs.rows | "CountRows" >> CountAs("rows"),
        csvs.bad | "CountBadRows" >> CountAs("rows"),
        mapped.rows | "CountBids" >> CountAs("bids"),
        items,
        refused,
    )
    write_counts(counted, counts)


class _MapRow(beam.DoFn):
    def __init__(self, mapping: BidMapping, form: CsvFormat) -> None:
        self.mapping, self.form = mapping, form

    def process(self, element: CsvRow) -> Iterator[Any]:
        try:
            item, at, bid = map_row(self.mapping, element.line, element.fields)
        except BadRecord as error:
            yield rejected(element, self.form, error)
            return
        yield element.file, element.line, at, REGISTRY.encode(item), REGISTRY.encode(bid)


def _together(row: Row) -> tuple[int, Row]:
    return 0, row


def write_log(group: tuple[int, Iterable[Row]], output: str) -> tuple[str, int]:
    """Writes the records of all rows in the order of a log; gives ("items", how many)."""
    rows = sorted(row for row in group[1] if row[4])
    decode = REGISTRY.decode
    found = order_events(Imported(decode(item), at, decode(bid)) for _, _, at, item, bid in rows)
    records = []
    for number, (at, event) in enumerate(found):
        key = client_key(event)
        value = REGISTRY.encode(event)
        records.append(Record(number, at, None if key is None else key.encode(), value, None, ()))
    write_record_file(output, records)
    return "items", max(0, len(records) - len(rows) - 1)


# --- the launcher ---


def summarise(lines: Iterable[str]) -> dict[str, Any]:
    """The counts added up."""
    return csv_imports.summarise(lines, "bids", "items")


def describe(counts: dict[str, Any]) -> str:
    """The printed summary."""
    return describe_counts(counts, "bids", f"{counts['items']:,} auctions")


def run(argv: list[str]) -> int:
    options = parse_options(argv, ImportOptions)
    check_output(options.output)
    mapping = read_mapping(options.mapping)

    def build(p: beam.Pipeline, read: ReadCsv, output: str, rejects: str, counts: str) -> None:
        build_pipeline(p, read, mapping, output, rejects, counts)

    return run_import(options, partial(csv_format, mapping), build, summarise, describe, "bids")


if __name__ == "__main__":
    main(run)
