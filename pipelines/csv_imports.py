"""What imports of CSV files by a mapping share: flags, rejected rows, counts that must add up, outputs that appear whole or not at all."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.common import JobOptions, UsageError
from pipelines.engine import run_job
from pipelines.files import check_apart, check_inputs, publish_file
from transforms.csv_files import BadCsvRow, CsvFileError, CsvFormat, CsvRow, ReadCsv, csv_line
from transforms.errors import BadRecord
from transforms.lines import WriteLines

Build = Callable[[beam.Pipeline, ReadCsv, str, str, str], None]
"""Builds the pipeline: reads, and writes the container, the rejected rows and the counts at these paths."""


def add_flags(parser: argparse.ArgumentParser, shipped: Path) -> None:
    """The flags of an import; `shipped` is the folder of the mappings that come with the project."""
    parser.add_argument("--input", required=True, help="CSV files (also .gz), folders or globs, separated by commas")
    names = ", ".join(sorted(path.stem for path in shipped.glob("*.json")))
    parser.add_argument("--mapping", required=True, help=f"a mapping file, or the name of a shipped one: {names}")
    parser.add_argument("--output", required=True, help="Avro container of raw records to write, NAME.avro")


def rejected(row: CsvRow, form: CsvFormat, error: BadRecord) -> TaggedOutput:
    """The row as the output "rejected" has it."""
    text = csv_line(row.fields.values(), form)
    return TaggedOutput("rejected", BadCsvRow(row.file, row.line, error.code, error.detail, text))


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


def write_counts(counted: tuple[Any, ...], path: str) -> None:
    """PCollections of tuple[str, int] become lines `[what, how many]` of one file."""
    _ = (
        counted
        | "MergeCounts" >> beam.Flatten()
        | "CountLines" >> beam.Map(json.dumps).with_output_types(str)
        | "WriteCounts" >> WriteLines(path)
    )


def summarise(lines: Iterable[str], *names: str) -> dict[str, Any]:
    """The counts added up: rows, those of `names`, and rejected rows by code, which were counted in different places of the pipeline."""
    counts: dict[str, Any] = {"rows": 0, **dict.fromkeys(names, 0), "rejected": {}}
    for what, number in map(json.loads, lines):
        if what in counts:
            counts[what] += number
        else:
            counts["rejected"][what] = counts["rejected"].get(what, 0) + number
    return counts


def describe_counts(counts: dict[str, Any], made: str, besides: str) -> str:
    """The printed summary; `made`: the name of what rows become, `besides`: what was made besides, in words."""
    refused = sum(counts["rejected"].values())
    text = f"{counts['rows']:,} rows = {counts[made]:,} {made} + {refused:,} rejected; {besides}"
    return "\n".join([text, *(f"  rejected {code}: {number:,}" for code, number in counts["rejected"].items())])


def check_output(name: str) -> None:
    """UsageError unless it is the name of a container."""
    if not name.endswith(".avro"):
        raise UsageError("the name must end with .avro", f"--output {name}")


def run_import(
    options: JobOptions,
    form: Callable[[], CsvFormat],
    build: Build,
    summary: Callable[[Iterable[str]], dict[str, Any]],
    describe: Callable[[dict[str, Any]], str],
    made: str,
) -> int:
    """Runs the pipeline and tells what it did; 1 when rows are not what they `made` and the rejected ones together."""
    try:
        read = ReadCsv(check_inputs(options.input), form())
    except CsvFileError as error:
        raise UsageError(str(error)) from error
    beside = [f"{options.output}.{end}" for end in ("rejected.csv", "counts.json")]
    for read_too in (options.input, [options.mapping]):
        check_apart([options.output, *beside], read_too)
    with (
        publish_file(beside[0]) as refused,
        publish_file(beside[1]) as counted,
        publish_file(options.output) as output,
    ):
        run_job(options, lambda p: build(p, read, str(output), str(refused), str(counted)))
        counts = summary(counted.read_text(encoding="utf-8").splitlines())
        counted.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    print(describe(counts))
    print(f"written: {options.output}, {', '.join(beside)}")
    if counts["rows"] != counts[made] + sum(counts["rejected"].values()):
        print(f"import_{made}: the counts do not add up", file=sys.stderr)
        return 1
    return 0
