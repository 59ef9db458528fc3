"""Import: any CSV of bids by a small mapping file becomes raw items, bids and a tick past the last end, for the pipeline `auctions`.

CSV files → map each row to its item and bid → all of them in the order of a log, on one worker → one Avro container of raw records.
A row that cannot be mapped goes to `<output>.rejected.csv` with its line and the reason: rows = bids + rejected.
Flags, the mapping file, outputs and failures: docs/pipelines/import_bids.md.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type

from auctions.imports import Imported, map_row, order_events
from auctions.intake import client_key
from auctions.mapping import SHIPPED, BidMapping, load_mapping
from payments.mapping import BadMapping
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_apart, check_inputs, expand_home, publish_file
from pipelines.import_payments import CountAs
from pipelines.registry import REGISTRY
from schemas.rails import Record
from transforms.csv_files import BadCsvRow, CsvFileError, CsvFormat, CsvRow, ReadCsv, WriteBadRows, csv_line
from transforms.errors import BadRecord
from transforms.lines import WriteLines
from transforms.record_files import write_record_file

Row = tuple[str, int, int, bytes, bytes]
"""A mapped row: its file and line, the time (ms) of the bid, and the values of its item and bid."""


class ImportOptions(JobOptions):
    """Any CSV of bids, by a mapping file, to raw records that the pipeline `auctions` takes."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--input", required=True, help="CSV files (also .gz), folders or globs, separated by commas"
        )
        shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.json")))
        parser.add_argument("--mapping", required=True, help=f"a mapping file, or the name of a shipped one: {shipped}")
        parser.add_argument("--output", required=True, help="Avro container of raw records to write, NAME.avro")


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
    p: beam.Pipeline, read: ReadCsv, mapping: BidMapping, output: str, rejected: str, counts: str
) -> None:
    """Writes the container, the rejected rows, and the counts as lines `[what, how many]`."""
    csvs = p | "ReadCsv" >> read
    mapped = csvs.rows | "MapRows" >> beam.ParDo(_MapRow(mapping, read.form)).with_outputs("rejected", main="rows")
    mapped.rows.element_type, mapped.rejected.element_type = convert_to_beam_type(Row), BadCsvRow
    # Without any row there is still a container to write, an empty one.
    nothing = p | "Empty" >> beam.Create([("", 0, 0, b"", b"")], reshuffle=False).with_output_types(Row)
    items = (
        (mapped.rows, nothing)
        | "WithEmpty" >> beam.Flatten()
        | "Together" >> beam.Map(_together).with_output_types(tuple[int, Row])
        | "Group" >> beam.GroupByKey()
        | "WriteRecords" >> beam.Map(write_log, output).with_output_types(tuple[str, int])
    )
    refused = (
        (csvs.bad, mapped.rejected) | "MergeRejected" >> beam.Flatten() | "WriteRejected" >> WriteBadRows(rejected)
    )
    counted = (
        csvs.rows | "CountRows" >> CountAs("rows"),
        csvs.bad | "CountBadRows" >> CountAs("rows"),
        mapped.rows | "CountBids" >> CountAs("bids"),
        items,
        refused,
    )
    _ = (
        counted
        | "MergeCounts" >> beam.Flatten()
        | "CountLines" >> beam.Map(json.dumps).with_output_types(str)
        | "WriteCounts" >> WriteLines(counts)
    )


class _MapRow(beam.DoFn):
    def __init__(self, mapping: BidMapping, form: CsvFormat) -> None:
        self.mapping, self.form = mapping, form

    def process(self, element: CsvRow) -> Iterator[Any]:
        try:
            item, at, bid = map_row(self.mapping, element.line, element.fields)
        except BadRecord as error:
            text = csv_line(element.fields.values(), self.form)
            yield TaggedOutput("rejected", BadCsvRow(element.file, element.line, error.code, error.detail, text))
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
    """The counts added up; rows, bids and rejected rows were counted in different places of the pipeline."""
    counts: dict[str, Any] = {"rows": 0, "bids": 0, "items": 0, "rejected": {}}
    for what, number in map(json.loads, lines):
        if what in counts:
            counts[what] += number
        else:
            counts["rejected"][what] = counts["rejected"].get(what, 0) + number
    return counts


def describe(counts: dict[str, Any]) -> str:
    """The printed summary."""
    refused = sum(counts["rejected"].values())
    text = f"{counts['rows']:,} rows = {counts['bids']:,} bids + {refused:,} rejected; {counts['items']:,} auctions"
    return "\n".join([text, *(f"  rejected {code}: {number:,}" for code, number in counts["rejected"].items())])


def run(argv: list[str]) -> int:
    options = parse_options(argv, ImportOptions)
    if not options.output.endswith(".avro"):
        raise UsageError("the name must end with .avro", f"--output {options.output}")
    mapping = read_mapping(options.mapping)
    try:
        read = ReadCsv(check_inputs(options.input), csv_format(mapping))
    except CsvFileError as error:
        raise UsageError(str(error)) from error
    beside = [f"{options.output}.{end}" for end in ("rejected.csv", "counts.json")]
    for read_too in (options.input, [options.mapping]):
        check_apart([options.output, *beside], read_too)
    with (
        publish_file(beside[0]) as rejected,
        publish_file(beside[1]) as counted,
        publish_file(options.output) as output,
    ):
        run_job(options, lambda p: build_pipeline(p, read, mapping, str(output), str(rejected), str(counted)))
        counts = summarise(counted.read_text(encoding="utf-8").splitlines())
        counted.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    print(describe(counts))
    print(f"written: {options.output}, {', '.join(beside)}")
    if counts["rows"] != counts["bids"] + sum(counts["rejected"].values()):
        print("import_bids: the counts do not add up", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main(run)
