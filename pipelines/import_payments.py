"""Import: any CSV by a small mapping file becomes raw payments and account openings.

CSV files → map each row → raw records (an opening before the first payment of each account) in the order of the log → one Avro container.
A row that cannot be mapped goes to `<output>.rejected.csv` with its line and the reason: rows = payments + rejected.
Flags, the mapping file, outputs and failures: docs/pipelines/import_payments.md.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from payments.imports import accounts_of, map_row, opening
from payments.mapping import BadMapping, ImportMapping, read_mapping
from pipelines import csv_imports
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.csv_imports import CountAs, add_flags, check_output, describe_counts, rejected, run_import, write_counts
from pipelines.files import expand_home
from pipelines.registry import REGISTRY
from schemas.rails import Record
from transforms.csv_files import BadCsvRow, CsvFormat, CsvRow, ReadCsv, WriteBadRows
from transforms.errors import BadRecord
from transforms.sorted_records import WriteSortedRecords

MAPPINGS = Path(__file__).parent / "mappings"


class ImportOptions(JobOptions):
    """Any CSV, by a mapping file, to raw payments that the pipeline `payments` takes."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_flags(parser, MAPPINGS)


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
    p: beam.Pipeline, read: ReadCsv, mapping: ImportMapping, output: str, rejects: str, counts: str
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
    refused = (csvs.bad, mapped.rejected) | "MergeRejected" >> beam.Flatten() | "WriteRejected" >> WriteBadRows(rejects)
    counted = (
        csvs.rows | "CountRows" >> CountAs("rows"),
        csvs.bad | "CountBadRows" >> CountAs("rows"),
        mapped.payments | "CountPayments" >> CountAs("payments"),
        openings | "CountAccounts" >> CountAs("accounts"),
        refused,
    )
    write_counts(counted, counts)


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
        step = beam.ParDo(_MapRow(self.mapping, self.form)).with_output_types(
            Record, accounts=tuple[str, tuple[int, str]], rejected=BadCsvRow
        )
        made = rows | "Map" >> step.with_outputs("accounts", "rejected", main="payments")
        return Mapped(made.payments, made.accounts, made.rejected)


class _MapRow(beam.DoFn):
    def __init__(self, mapping: ImportMapping, form: CsvFormat) -> None:
        self.mapping, self.form = mapping, form

    def process(self, element: CsvRow) -> Iterator[Any]:
        try:
            payment = map_row(self.mapping, element.line, element.fields)
        except BadRecord as error:
            yield rejected(element, self.form, error)
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


# --- the launcher ---


def summarise(lines: Iterable[str]) -> dict[str, Any]:
    """The counts added up."""
    return csv_imports.summarise(lines, "payments", "accounts")


def describe(counts: dict[str, Any]) -> str:
    """The printed summary."""
    return describe_counts(counts, "payments", f"{counts['accounts']:,} accounts opened")


def run(argv: list[str]) -> int:
    options = parse_options(argv, ImportOptions)
    check_output(options.output)
    mapping = load_mapping(options.mapping)

    def build(p: beam.Pipeline, read: ReadCsv, output: str, rejects: str, counts: str) -> None:
        build_pipeline(p, read, mapping, output, rejects, counts)

    return run_import(options, partial(csv_format, mapping), build, summarise, describe, "payments")


if __name__ == "__main__":
    main(run)
