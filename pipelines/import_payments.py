"""Import: any CSV by a small mapping file becomes raw payments and account openings.

CSV files → map each row → raw records (an opening before the first payment of each account) in the order of the log → one Avro container.
A row that cannot be mapped goes to `<output>.rejected.csv` with its line and the reason: rows = payments + rejected.
Flags, the mapping file, outputs and failures: docs/pipelines/import_payments.md.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from payments.imports import accounts_of, map_row, opening
from payments.mapping import BadMapping, ImportMapping, read_mapping
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_apart, check_inputs, expand_home, publish_file
from pipelines.registry import REGISTRY
from schemas.rails import Record
from transforms.csv_files import BadCsvRow, CsvFileError, CsvFormat, CsvRow, ReadCsv, WriteBadRows, csv_line
from transforms.errors import BadRecord
from transforms.lines import WriteLines
from transforms.sorted_records import WriteSortedRecords

MAPPINGS = Path(__file__).parent / "mappings"


class ImportOptions(JobOptions):
    """Any CSV, by a mapping file, to raw payments that the pipeline `payments` takes."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--input", required=True, help="CSV files (also .gz), folders or globs, separated by commas"
        )
        shipped = ", ".join(sorted(path.stem for path in MAPPINGS.glob("*.json")))
        parser.add_argument("--mapping", required=True, help=f"a mapping file, or the name of a shipped one: {shipped}")
        parser.add_argument("--output", required=True, help="Avro container of raw records to write, NAME.avro")


def load_mapping(name: str) -> ImportMapping:
    """The mapping of a file, or the shipped one of that name; UsageError says what is wrong with it."""
    path = expand_home(name)
    if not path.is_file():
        path = MAPPINGS / f"{name}.json"
        if Path(name).name != name or not path.is_file():
            raise UsageError("no such mapping file, and none of that name is shipped", name)
    try:
        return read_mapping(path.read_text(encoding="utf-8"))
    except (BadMapping, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"not a mapping ({error})", name) from error


def csv_format(mapping: ImportMapping) -> CsvFormat:
    """The mapping says how its files are written; `csv.columns` names the columns of files without a header."""
    settings = dict(mapping.csv)
    named = tuple(settings.pop("columns", ()))
    missing = [name for name in mapping.columns if named and name not in named]
    if missing:
        raise UsageError(f"the mapping uses columns that csv.columns has not: {', '.join(missing)}", "--mapping")
    try:
        return CsvFormat(columns=named or mapping.columns, header=not named, **settings)
    except ValueError as error:
        raise UsageError(f"not a mapping (csv: {error})", "--mapping") from error


def build_pipeline(
    p: beam.Pipeline, read: ReadCsv, mapping: ImportMapping, output: str, rejected: str, counts: str
) -> None:
    """Writes the container, the rejected rows, and the counts as lines `[what, how many]`."""
    csvs = p | "ReadCsv" >> read
    mapped = csvs.rows | "MapRows" >> MapRows(mapping, read.form)
    openings = (
        mapped.accounts
        | "ByAccount" >> beam.GroupByKey()
        | "OpenAccounts" >> beam.FlatMap(open_account, mapping).with_output_types(Record)
    )
    _ = (mapped.payments, openings) | "MergeRecords" >> beam.Flatten() | "WriteRecords" >> WriteSortedRecords(output)
    refused = (
        (csvs.bad, mapped.rejected) | "MergeRejected" >> beam.Flatten() | "WriteRejected" >> WriteBadRows(rejected)
    )
    counted = (
        csvs.rows | "CountRows" >> CountAs("rows"),
        csvs.bad | "CountBadRows" >> CountAs("rows"),
        mapped.payments | "CountPayments" >> CountAs("payments"),
        openings | "CountAccounts" >> CountAs("accounts"),
        refused,
    )
    _ = (
        counted
        | "MergeCounts" >> beam.Flatten()
        | "CountLines" >> beam.Map(json.dumps).with_output_types(str)
        | "WriteCounts" >> WriteLines(counts)
    )


@dataclass(frozen=True)
class Mapped:
    """What `MapRows` gives: `payments`, PCollection[Record]; `accounts`, PCollection[tuple[str, tuple[int, str]]], of each account that a
    payment names (time, currency); `rejected`, PCollection[BadCsvRow].
    """

    payments: Any
    accounts: Any
    rejected: Any


class MapRows(beam.PTransform):
    """PCollection[CsvRow] → Mapped. A payment is appended at the time that it claims."""

    def __init__(self, mapping: ImportMapping, form: CsvFormat) -> None:
        super().__init__()
        self.mapping, self.form = mapping, form

    def expand(self, rows: Any) -> Any:
        step = beam.ParDo(_MapRow(self.mapping, self.form)).with_output_types(Record)
        made = rows | "Map" >> step.with_outputs("accounts", "rejected", main="payments")
        made.accounts.element_type = beam.typehints.Tuple[str, beam.typehints.Tuple[int, str]]
        made.rejected.element_type = BadCsvRow
        return Mapped(made.payments, made.accounts, made.rejected)


class _MapRow(beam.DoFn):
    def __init__(self, mapping: ImportMapping, form: CsvFormat) -> None:
        self.mapping, self.form = mapping, form

    def process(self, element: CsvRow) -> Iterator[Any]:
        try:
            payment = map_row(self.mapping, element.line, element.fields)
        except BadRecord as error:
            text = csv_line(element.fields.values(), self.form)
            yield TaggedOutput("rejected", BadCsvRow(element.file, element.line, error.code, error.detail, text))
            return
        value = REGISTRY.encode(payment)
        yield Record(0, payment.requested_at, payment.payment_id.encode(), value, None, ())
        if self.mapping.open_accounts:
            for account in accounts_of(payment):
                yield TaggedOutput("accounts", account)


def open_account(found: tuple[str, Iterable[tuple[int, str]]], mapping: ImportMapping) -> Iterator[Record]:
    account, seen = found
    at, event = opening(mapping, account, min(seen))
    yield Record(0, at, account.encode(), REGISTRY.encode(event), None, ())


class CountAs(beam.PTransform):
    """PCollection[T] → PCollection[tuple[str, int]]: (what, how many), one of each bundle, to be added up."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def expand(self, elements: Any) -> Any:
        return elements | "Count" >> beam.ParDo(_Count(self.what)).with_output_types(tuple[str, int])


class _Count(beam.DoFn):
    def __init__(self, what: str) -> None:
        self.what = what

    def start_bundle(self) -> None:
        self.count = 0

    def process(self, element: Any) -> None:
        self.count += 1

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield GlobalWindows.windowed_value((self.what, self.count))


# --- the launcher ---


def summarise(lines: Iterable[str]) -> dict[str, Any]:
    """The counts added up; rows, payments and rejected rows were counted in different places of the pipeline."""
    counts: dict[str, Any] = {"rows": 0, "payments": 0, "accounts": 0, "rejected": {}}
    for what, number in map(json.loads, lines):
        if what in counts:
            counts[what] += number
        else:
            counts["rejected"][what] = counts["rejected"].get(what, 0) + number
    return counts


def describe(counts: dict[str, Any]) -> str:
    """The printed summary."""
    refused = sum(counts["rejected"].values())
    text = f"{counts['rows']:,} rows = {counts['payments']:,} payments + {refused:,} rejected; {counts['accounts']:,} accounts opened"
    return "\n".join([text, *(f"  rejected {code}: {number:,}" for code, number in counts["rejected"].items())])


def run(argv: list[str]) -> int:
    options = parse_options(argv, ImportOptions)
    if not options.output.endswith(".avro"):
        raise UsageError("the name must end with .avro", f"--output {options.output}")
    mapping = load_mapping(options.mapping)
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
    if counts["rows"] != counts["payments"] + sum(counts["rejected"].values()):
        print("import_payments: the counts do not add up", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main(run)
